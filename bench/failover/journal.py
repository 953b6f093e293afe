"""The moments at which runs began, as the nodes' own drivers saw them: one file that all processes write.

A line is ``moment node task.instance.epoch``; moments are of the machine's monotonic clock, which all its
processes share.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

Key = tuple[str, int]
"""Task and instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """``id``: of the run's grant, as drivers name it."""

    at_s: float
    node: str
    id: str

    @property
    def key(self) -> Key:
        task, instance, _ = self.id.rsplit(".", 2)
        return task, int(instance)

    @property
    def epoch(self) -> int:
        return int(self.id.rpartition(".")[2])


class Pen:
    """Writes whole lines at the file's end, whoever else writes there."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def began(self, node: str, name: str) -> None:
        os.write(self._file, f"{time.monotonic():.6f} {node} {name}\n".encode())


def parse(line: str) -> Began:
    at_s, node, name = line.split()
    return Began(at_s=float(at_s), node=node, id=name)


class Journal:
    """``newest``: of each instance, the run that began last by the highest epoch."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open("r", encoding="utf-8")
        self._rest = ""
        self.newest: dict[Key, Began] = {}

    def close(self) -> None:
        self._file.close()

    def follow(self) -> list[Began]:
        """What was written since the last call."""
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        found = [parse(line) for line in lines]
        for began in found:
            known = self.newest.get(began.key)
            if known is None or began.epoch >= known.epoch:
                self.newest[began.key] = began
        return found

    def on(self, node: str) -> list[Began]:
        """What runs on a node, as far as it was written that it began there and nowhere since."""
        return [began for began in self.newest.values() if began.node == node]
