"""Cages as control groups of version 2 (Linux: Documentation/admin-guide/cgroup-v2.rst), at
``<mount>/farshore/<agent>/<id>``."""

import contextlib
from dataclasses import replace
from pathlib import Path

from farshore_edge.tasks.drivers.limits import files
from farshore_edge.tasks.drivers.limits.bounds import CONTROLLERS, Bounds, confinement
from farshore_edge.tasks.drivers.limits.model import Confinement
from farshore_edge.tasks.drivers.model import DriverError, Usage, Work


class UnifiedCage:
    def __init__(self, group: Path, confinement: Confinement | None = None) -> None:
        self._group = group
        self.confinement = confinement or Confinement()

    def pids(self) -> frozenset[int] | None:
        return files.pids(self._group)

    def kill(self) -> None:
        try:
            # One word reaches also what is being forked meanwhile (since Linux 5.14).
            files.write(self._group / "cgroup.kill", "1")
        except OSError:
            files.kill(files.pids(self._group))

    def usage(self) -> Usage | None:
        spent_us = files.table(self._group / "cpu.stat").get("usage_usec")
        held = files.number(self._group / "memory.current")
        if spent_us is None or held is None:
            return None
        cache = files.table(self._group / "memory.stat").get("inactive_file", 0)
        return Usage(cpu_s=spent_us / 1e6, memory_bytes=max(held - cache, 0))

    def was_oom(self) -> bool:
        return files.table(self._group / "memory.events").get("oom_kill", 0) > 0

    def remove(self) -> None:
        files.remove(self._group)
        files.remove_empty(self._group.parent)


def settings(bounds: Bounds) -> list[tuple[str, str, str]]:
    """Controller, file and text, in order. Pure."""
    found = []
    if bounds.cpu_cores is not None:
        quota = f"{files.quota_us(bounds.cpu_cores)} {files.PERIOD_US}"
        found.append(("cpu", "cpu.max", quota))
    if bounds.memory_bytes is not None:
        found.append(("memory", "memory.max", str(bounds.memory_bytes)))
        found.append(("memory", "memory.swap.max", "0"))
        found.append(("memory", "memory.oom.group", "1"))
    if bounds.pids is not None:
        found.append(("pids", "pids.max", str(bounds.pids)))
    if bounds.cpus:
        found.append(("cpuset", "cpuset.cpus", ",".join(map(str, bounds.cpus))))
    return found


class UnifiedCages:
    """``mount``: of the hierarchy. ``agent``: a name of this agent alone."""

    kind = "cgroup2"

    def __init__(self, mount: Path, agent: str) -> None:
        self._mount = mount
        self._folder = mount / files.TOP / agent

    def begin(self) -> None:
        """Makes the place and hands the controllers down to it. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for group in (self._mount, self._folder.parent, self._folder):
            for controller in sorted(set(CONTROLLERS.values())):
                # One by one: a kernel that lacks one of them refuses all.
                with contextlib.suppress(OSError):
                    files.write(group / "cgroup.subtree_control", f"+{controller}")

    @property
    def controllers(self) -> frozenset[str]:
        try:
            return frozenset((self._folder / "cgroup.subtree_control").read_text("ascii").split())
        except OSError:
            return frozenset()

    def make(self, work: Work) -> UnifiedCage:
        with contextlib.suppress(OSError):  # it is gone since the last cage was removed
            self.begin()
        bounds, there, group = Bounds.of(work), self.controllers, self._folder / work.id
        confined = replace(
            confinement(bounds, there, (str(group / "cgroup.procs"),)),
            kill_files=(str(group / "cgroup.kill"),),
        )
        try:
            files.remove(group)
            group.mkdir(parents=True)
            for controller, name, text in settings(bounds):
                # Not every kernel counts swap, or kills a group as one.
                if controller in there and (group / name).exists():
                    files.write(group / name, text)
        except OSError as exc:
            with contextlib.suppress(OSError):
                files.remove(group)
            raise DriverError("no_cage", f"{exc.filename}: {exc.strerror}") from exc
        return UnifiedCage(group, confined)

    def find(self, work_id: str) -> UnifiedCage:
        return UnifiedCage(self._folder / work_id)

    def ids(self) -> frozenset[str]:
        return files.names(self._folder)
