"""What is bounded for all processes of an instance together, and what a machine can hold of it. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from farshore_edge.tasks.drivers.limits.model import Confinement
from farshore_edge.tasks.drivers.model import DriverError, Work

CONTROLLERS: Mapping[str, str] = {
    "cpu_cores": "cpu",
    "memory_bytes": "memory",
    "pids": "pids",
    "cpus": "cpuset",
}
"""Bound → the controller of control groups that holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """None and empty: none. ``cpus``: numbers of the only processors that it may run on."""

    cpu_cores: float | None = None
    memory_bytes: int | None = None
    pids: int | None = None
    cpus: tuple[int, ...] = ()

    @classmethod
    def of(cls, work: Work) -> "Bounds":
        limits = work.limits
        return cls(
            cpu_cores=limits.cpu_cores,
            memory_bytes=limits.memory_bytes,
            pids=limits.pids,
            cpus=work.cpus,
        )


def confinement(bounds: Bounds, there: Collection[str], procs: tuple[str, ...] = ()) -> Confinement:
    """``there``: the controllers that can be used, ``procs``: the files to enter by. What no controller
    holds: memory is bounded for each process (RLIMIT_DATA), processors by affinity, and the rest can't
    be held. Raises DriverError for that."""
    unheld = [
        name
        for name, asked in (("cpu_cores", bounds.cpu_cores), ("pids", bounds.pids))
        if asked is not None and CONTROLLERS[name] not in there
    ]
    if unheld:
        names = " and ".join(f"limits.{name}" for name in unheld)
        needed = ", ".join(CONTROLLERS[name] for name in unheld)
        raise DriverError(
            "unsupported",
            f"{names}: this machine gives the agent no control groups with {needed}; "
            "expected an agent that runs as root, or a task without that limit",
            permanent=True,
        )
    rlimits = {}
    if bounds.memory_bytes is not None and "memory" not in there:
        rlimits["RLIMIT_DATA"] = bounds.memory_bytes
    return Confinement(procs_files=procs, rlimits=rlimits, cpus=bounds.cpus)
