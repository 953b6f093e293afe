"""Which control groups a machine has, from what the kernel says of its mounts. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

CONTROLLERS = frozenset(
    {"cpu", "cpuacct", "cpuset", "memory", "pids", "freezer", "devices", "blkio", "hugetlb"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """``v1``: controller → where its hierarchy is mounted. ``v2``: where the unified hierarchy is."""

    v1: Mapping[str, str] = field(default_factory=dict)
    v2: str | None = None

    @property
    def kind(self) -> Literal["v1", "hybrid", "v2", "none"]:
        if self.v1:
            return "hybrid" if self.v2 else "v1"
        return "v2" if self.v2 else "none"


def read_layout(mountinfo: str) -> Layout:
    """From the text of ``/proc/self/mountinfo`` (proc(5)); lines that are something else are passed
    over. The first mount of a hierarchy counts, and only where its root is the hierarchy's own."""
    v1: dict[str, str] = {}
    v2 = None
    for line in mountinfo.splitlines():
        left, dash, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if not dash or len(fields) < 5 or len(kind) < 3:
            continue
        where = _unescaped(fields[4])
        if kind[0] == "cgroup2":
            v2 = v2 or where
        elif kind[0] == "cgroup":
            for controller in CONTROLLERS.intersection(kind[2].split(",")):
                v1.setdefault(controller, where)
    return Layout(v1=v1, v2=v2)


def _unescaped(path: str) -> str:
    """The kernel writes space, tab, newline and backslash as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)
