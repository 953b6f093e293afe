"""Where a node keeps until when its grants may run: one small file for each, beside the instance.

Not in the database: a lease is worth nothing after the machine's next boot, so it need not be synced,
and it is renewed every few seconds. It is read by whoever ends the run where no agent lives
(``drivers/shim``).
"""

import contextlib
import os
from pathlib import Path
from typing import Protocol

from farshore_edge.tasks.lease import Lease


class Leases(Protocol):
    def keep(self, name: str, lease: Lease) -> None:
        """``name``: the grant's id. Raises OSError where it can't be kept: then it is not renewed."""
        ...

    def find(self, name: str) -> Lease | None:
        """What was kept in this boot of the machine."""
        ...

    def file(self, name: str) -> Path | None:
        """For a driver; None where there are no files."""
        ...


class FileLeases:
    """``boot``: names this boot of the machine."""

    def __init__(self, folder: Path, boot: str) -> None:
        self._folder = folder
        self._boot = boot

    def file(self, name: str) -> Path:
        return self._folder / name / "lease"

    def keep(self, name: str, lease: Lease) -> None:
        path = self.file(name)
        staged = path.with_name("lease.new")
        words = (self._boot, lease.stop_s, lease.kill_s, lease.end_s)
        staged.write_text(" ".join(map(str, words)) + "\n", "ascii")
        os.replace(staged, path)

    def find(self, name: str) -> Lease | None:
        with contextlib.suppress(OSError, ValueError):
            boot, stop, kill, end = self.file(name).read_text("ascii").split()
            if boot == self._boot:
                return Lease(stop_s=float(stop), kill_s=float(kill), end_s=float(end))
        return None


class MemoryLeases:
    """For simulated nodes; it outlives an agent if it is handed on."""

    def __init__(self) -> None:
        self._kept: dict[str, Lease] = {}

    def file(self, name: str) -> Path | None:  # noqa: ARG002 # the contract
        return None

    def keep(self, name: str, lease: Lease) -> None:
        self._kept[name] = lease

    def find(self, name: str) -> Lease | None:
        return self._kept.get(name)
