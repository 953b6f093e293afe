"""Which file holds what an instance has said: that of its newest grant which this node still has."""

from collections.abc import Iterable
from pathlib import Path

OUTPUT = "output.log"


def newest(unit: str, names: Iterable[str]) -> str | None:
    """``unit``: ``TASK/INSTANCE``; ``names``: of directories, ``task.instance.epoch``, and whatever
    else there is. Pure."""
    task, _, instance = unit.partition("/")
    if not instance.isdecimal():
        return None
    begin = f"{task}.{int(instance)}."
    epochs = [name.removeprefix(begin) for name in names if name.startswith(begin)]
    found = [int(each) for each in epochs if each.isdecimal()]
    return f"{begin}{max(found)}" if found else None


class Outputs:
    """``root``: where the instances have their directories; None: there are none."""

    def __init__(self, root: Path | None) -> None:
        self._root = root

    def find(self, unit: str) -> Path | None:
        if self._root is None:
            return None
        try:
            name = newest(unit, [each.name for each in self._root.iterdir()])
        except OSError:
            return None
        return None if name is None else self._root / name / OUTPUT
