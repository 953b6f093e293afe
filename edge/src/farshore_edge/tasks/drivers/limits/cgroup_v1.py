"""Cages as control groups of version 1: a group of the same path, ``<mount>/farshore/<agent>/<id>``, in
the hierarchy of each controller, and in the unified one where it is there beside them (hybrid).

Linux: Documentation/admin-guide/cgroup-v1/.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from farshore_edge.tasks.drivers.limits import files
from farshore_edge.tasks.drivers.limits.bounds import Bounds, confinement
from farshore_edge.tasks.drivers.limits.layout import Layout
from farshore_edge.tasks.drivers.limits.model import Confinement
from farshore_edge.tasks.drivers.model import DriverError, Usage, Work

USED = ("cpu", "cpuacct", "cpuset", "memory", "pids", "freezer")
UNIFIED = "unified"
_ENTERED = "cgroup.procs"


class LegacyCage:
    """``groups``: controller → its folder. Controllers that share a hierarchy share the folder."""

    def __init__(self, groups: Mapping[str, Path], confinement: Confinement | None = None) -> None:
        self._groups = groups
        self._folders = tuple(dict.fromkeys(groups.values()))
        self.confinement = confinement or Confinement()

    def pids(self) -> frozenset[int] | None:
        """Who is in any of them: who has the rights for it may have left one, hardly all."""
        return frozenset().union(*(files.pids(folder) for folder in self._folders))

    def kill(self) -> None:
        if UNIFIED in self._groups:
            with contextlib.suppress(OSError):
                files.write(self._groups[UNIFIED] / "cgroup.kill", "1")
        freezer = self._groups.get("freezer")
        if freezer is None:
            files.kill(self.pids() or ())
            return
        # Frozen first, so that none forks away; the signal reaches them when they thaw.
        with contextlib.suppress(OSError):
            files.write(freezer / "freezer.state", "FROZEN")
        try:
            files.kill(self.pids() or ())
        finally:
            with contextlib.suppress(OSError):
                files.write(freezer / "freezer.state", "THAWED")

    def usage(self) -> Usage | None:
        spent_ns = self._number("cpuacct", "cpuacct.usage")
        held = self._number("memory", "memory.usage_in_bytes")
        if spent_ns is None or held is None:
            return None
        stat = files.table(self._groups["memory"] / "memory.stat")
        cache = stat.get("total_inactive_file", 0)
        return Usage(cpu_s=spent_ns / 1e9, memory_bytes=max(held - cache, 0))

    def _number(self, controller: str, name: str) -> int | None:
        group = self._groups.get(controller)
        return None if group is None else files.number(group / name)

    def was_oom(self) -> bool:
        """Each group counts its own processes, and not those of the groups below it."""
        group = self._groups.get("memory")
        if group is None:
            return False
        tables = (files.table(each / "memory.oom_control") for each in files.groups(group))
        return any(each.get("oom_kill", 0) for each in tables)

    def remove(self) -> None:
        for folder in self._folders:
            files.remove(folder)
            files.remove_empty(folder.parent)

    def make(self, bounds: Bounds) -> None:
        """The groups, with their bounds. Raises OSError."""
        for folder in self._folders:
            folder.mkdir(parents=True, exist_ok=True)
        if "cpuset" in self._groups:
            _inherit_cpuset(self._groups["cpuset"])
        for controller, name, text in settings(bounds):
            group = self._groups.get(controller)
            # Not every kernel counts swap.
            if group is not None and (group / name).exists():
                files.write(group / name, text)


def _inherit_cpuset(group: Path) -> None:
    """A new group has neither processors nor memory; before it has, nobody can enter. From the top."""
    path = [group]
    while path[0].name != files.TOP:
        path.insert(0, path[0].parent)
    for each in path:
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (each / name).exists() and not (each / name).read_text("ascii").strip():
                files.write(each / name, (each.parent / name).read_text("ascii").strip())


def settings(bounds: Bounds) -> list[tuple[str, str, str]]:
    """Controller, file and text, in order. Pure."""
    found = []
    if bounds.cpu_cores is not None:
        found.append(("cpu", "cpu.cfs_period_us", str(files.PERIOD_US)))
        found.append(("cpu", "cpu.cfs_quota_us", str(files.quota_us(bounds.cpu_cores))))
    if bounds.memory_bytes is not None:
        found.append(("memory", "memory.limit_in_bytes", str(bounds.memory_bytes)))
        # Memory and swap together.
        found.append(("memory", "memory.memsw.limit_in_bytes", str(bounds.memory_bytes)))
    if bounds.pids is not None:
        found.append(("pids", "pids.max", str(bounds.pids)))
    if bounds.cpus:
        found.append(("cpuset", "cpuset.cpus", ",".join(map(str, bounds.cpus))))
    return found


class LegacyCages:
    """``agent``: a name of this agent alone."""

    kind = "cgroup1"

    def __init__(self, layout: Layout, agent: str) -> None:
        mounts = {each: Path(layout.v1[each]) for each in USED if each in layout.v1}
        if layout.v2 is not None:
            mounts[UNIFIED] = Path(layout.v2)
        self._folders = {each: mount / files.TOP / agent for each, mount in mounts.items()}

    def begin(self) -> None:
        """Leaves out the hierarchies that can't be used. Raises OSError where that is all."""
        usable: dict[str, Path] = {}
        failed = OSError(0, "has no controller of version 1", "the machine")
        for controller, folder in self._folders.items():
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as exc:
                failed = exc
            else:
                usable[controller] = folder
        if set(usable) <= {UNIFIED}:
            raise failed
        self._folders = usable

    @property
    def controllers(self) -> frozenset[str]:
        return frozenset(self._folders) - {UNIFIED}

    def _groups(self, work_id: str) -> dict[str, Path]:
        return {each: folder / work_id for each, folder in self._folders.items()}

    def make(self, work: Work) -> LegacyCage:
        bounds, groups = Bounds.of(work), self._groups(work.id)
        procs = tuple(str(group / _ENTERED) for group in dict.fromkeys(groups.values()))
        unified, freezer = groups.get(UNIFIED), groups.get("freezer")
        confined = replace(
            confinement(bounds, self.controllers, procs),
            kill_files=() if unified is None else (str(unified / "cgroup.kill"),),
            freezer_file=None if freezer is None else str(freezer / "freezer.state"),
        )
        cage = LegacyCage(groups, confined)
        try:
            cage.remove()
            cage.make(bounds)
        except OSError as exc:
            with contextlib.suppress(OSError):
                cage.remove()
            raise DriverError("no_cage", f"{exc.filename}: {exc.strerror}") from exc
        return cage

    def find(self, work_id: str) -> LegacyCage:
        return LegacyCage(self._groups(work_id))

    def ids(self) -> frozenset[str]:
        found = (files.names(folder) for folder in self._folders.values())
        return frozenset().union(*found)
