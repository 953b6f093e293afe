"""Which cages this machine has: control groups where they can be used, else limits of processes."""

import contextlib
import hashlib
import logging
from pathlib import Path

from farshore_edge.tasks.drivers.limits.cgroup_v1 import LegacyCages
from farshore_edge.tasks.drivers.limits.cgroup_v2 import UnifiedCages
from farshore_edge.tasks.drivers.limits.layout import Layout, read_layout
from farshore_edge.tasks.drivers.limits.model import Cage
from farshore_edge.tasks.drivers.limits.rlimits import ProcessLimits
from farshore_edge.tasks.drivers.model import Work

log = logging.getLogger(__name__)

MOUNTINFO = Path("/proc/self/mountinfo")

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

    def make(self, work: Work) -> Cage:
        return self.chosen.make(work)

    def find(self, work_id: str) -> Cage:
        return self.chosen.find(work_id)


def host_cages(data: Path, *, mountinfo: Path = MOUNTINFO) -> HostCages:
    """``data``: the agent's data folder, whose path tells its cages from another agent's. Its ``kind``
    and ``controllers`` are for people."""
    agent = agent_name(data)
    layout = Layout()
    with contextlib.suppress(OSError):
        layout = read_layout(mountinfo.read_text("utf-8", errors="replace"))
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
        log.info("no control groups; limits of processes stand in", extra={"why": str(exc)})
    return ProcessLimits()


def agent_name(data: Path) -> str:
    """The same for each agent that has this data folder, another for any other folder."""
    return "agent-" + hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:12]
