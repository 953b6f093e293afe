"""Which cages this machine has: control groups where they can be used, else limits of processes."""

import contextlib
import hashlib
import logging
from pathlib import Path
from typing import Any

from farshore_edge.tasks.drivers.limits.cgroup_v1 import LegacyCages
from farshore_edge.tasks.drivers.limits.cgroup_v2 import UnifiedCages
from farshore_edge.tasks.drivers.limits.files import TOP
from farshore_edge.tasks.drivers.limits.layout import Layout, read_layout
from farshore_edge.tasks.drivers.limits.model import Cage
from farshore_edge.tasks.drivers.limits.rlimits import ProcessLimits
from farshore_edge.tasks.drivers.model import Work

log = logging.getLogger(__name__)

MOUNTINFO = Path("/proc/self/mountinfo")

LACKS = (
    "no control groups: processor time and number of processes can't be limited, memory is limited for each "
    "process alone, its end for lack of memory is told as SIGKILL, and who hides from a killed shim lives on"
)

HostCages = LegacyCages | UnifiedCages | ProcessLimits


class ChosenLate:
    """Nothing is made on the machine before the first task needs it."""

    def __init__(self, data: Path, *, mountinfo: Path = MOUNTINFO) -> None:
        self._data = data
        self._mountinfo = mountinfo
        self._chosen: HostCages | None = None

    @property
    def chosen(self) -> HostCages:
        if self._chosen is None:
            self._chosen = host_cages(self._data, mountinfo=self._mountinfo)
        return self._chosen

    def told(self) -> dict[str, Any] | None:
        """For people: by what tasks are held here, and what can't be; None before it was chosen."""
        if self._chosen is None:
            return None
        found: dict[str, Any] = {
            "by": self._chosen.kind,
            "controllers": sorted(self._chosen.controllers),
        }
        return {**found, "lacks": LACKS} if self._chosen.kind == ProcessLimits.kind else found

    def make(self, work: Work) -> Cage:
        return self.chosen.make(work)

    def find(self, work_id: str) -> Cage:
        return self.chosen.find(work_id)

    def ids(self) -> frozenset[str]:
        """What an earlier agent has left is looked for without making anything."""
        if self._chosen is None and not any(map(Path.is_dir, self._places())):
            return frozenset()
        return self.chosen.ids()

    def _places(self) -> list[Path]:
        """Where this agent's groups would be."""
        layout = _layout(self._mountinfo)
        mounts = {*layout.v1.values(), *([] if layout.v2 is None else [layout.v2])}
        return [Path(mount) / TOP / agent_name(self._data) for mount in mounts]


def host_cages(data: Path, *, mountinfo: Path = MOUNTINFO) -> HostCages:
    """``data``: the agent's data folder, whose path tells its cages from another agent's. Its ``kind``
    and ``controllers`` are for people."""
    agent = agent_name(data)
    layout = _layout(mountinfo)
    try:
        if layout.v1:
            legacy = LegacyCages(layout, agent)
            legacy.begin()
            return legacy
        if layout.v2 is not None:
            unified = UnifiedCages(Path(layout.v2), agent)
            unified.begin()
            return unified
    except OSError as exc:
        log.warning("tasks are not held by control groups", extra={"why": str(exc), "lacks": LACKS})
    else:
        why = "none is mounted"
        log.warning("tasks are not held by control groups", extra={"why": why, "lacks": LACKS})
    return ProcessLimits()


def _layout(mountinfo: Path) -> Layout:
    with contextlib.suppress(OSError):
        return read_layout(mountinfo.read_text("utf-8", errors="replace"))
    return Layout()


def agent_name(data: Path) -> str:
    """The same for each agent that has this data folder, another for any other folder."""
    return "agent-" + hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:12]
