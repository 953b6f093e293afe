"""What a node's tasks are put together from: what differs between a real and a simulated node."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from farshore_protocol.tasks import Grant, TaskSpec
from farshore_protocol.tasks.spec import Artifact, HealthCheck

from farshore_edge.tasks.drivers.model import Driver, DriverError
from farshore_edge.tasks.folders import Folders
from farshore_edge.tasks.lease_files import Leases


class Probe(Protocol):
    """Asks one health check once."""

    async def problem(self, check: HealthCheck, folder: Path, env: Mapping[str, str]) -> str | None:
        """None: it passed; else why not, for people. Takes ``check.timeout_s`` at most. A command runs
        in ``folder`` with ``env``."""
        ...


class Artifacts(Protocol):
    async def fetch(self, artifacts: tuple[Artifact, ...], folder: Path) -> None:
        """All of them lie in ``folder`` with the right digest; what is there is not fetched again.
        Raises DriverError."""
        ...


class Assigner(Protocol):
    """Who has which processor of this machine for itself."""

    def cpus(self, spec: TaskSpec, taken: frozenset[int]) -> tuple[int, ...]:
        """For ``limits.pin_cpus``: as many as it asks for, none of the taken ones; empty where it
        asks for none. Raises DriverError where there are not enough."""
        ...


Environ = Callable[[Grant, Mapping[str, Any]], dict[str, str]]
"""``spec.env`` with its references to the node's configuration (the mapping) resolved. Raises
DriverError."""


class NoProbe:
    """A node where nothing can be asked: everything is well."""

    async def problem(self, check: HealthCheck, folder: Path, env: Mapping[str, str]) -> str | None:  # noqa: ARG002 # the contract
        return None


class NoArtifacts:
    async def fetch(self, artifacts: tuple[Artifact, ...], folder: Path) -> None:  # noqa: ARG002 # the contract
        if artifacts:
            raise DriverError("unsupported", "this node fetches no artifacts", permanent=True)


class NoAssigner:
    def cpus(self, spec: TaskSpec, taken: frozenset[int]) -> tuple[int, ...]:  # noqa: ARG002 # the contract
        return ()


def plain_environ(grant: Grant, config: Mapping[str, Any]) -> dict[str, str]:  # noqa: ARG001 # the contract
    """Words as they are; a reference to the configuration has its default."""
    found = {}
    for name, value in grant.spec.env.items():
        text = value if isinstance(value, str) else value.default
        if text is None:
            raise DriverError("no_value", f"env.{name}: the configuration has no such value")
        found[name] = text
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Seconds after which a driver that hangs is given up; ``stop_s`` beside the task's own grace.
    ``slow_s``: after which it is said that it has not answered. ``ask_s``: until one that can't be used is
    asked again. ``again_s``, which doubles up to
    ``again_max_s``: between two attempts at what has to come about, to end something or to know whether
    it runs."""

    available_s: float = 10.0
    prepare_s: float = 1800.0
    start_s: float = 60.0
    adopt_s: float = 60.0
    stop_s: float = 20.0
    sweep_s: float = 60.0
    remove_s: float = 60.0
    facts_s: float = 60.0
    slow_s: float = 30.0
    ask_s: float = 15.0
    again_s: float = 1.0
    again_max_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskParts:
    """``folder``: where instances have their directories; None: there are none (a simulated node).
    ``folders``: in place of them.

    ``leases``: None for files below ``folder``, which are of the machine's boot ``machine_boot``.
    ``boot_s``: seconds on a clock that counts on while the machine sleeps, and begins with its boot;
    None: the agent's monotonic clock. ``inherited``: the agent's environment. ``limits``: by what tasks
    are held on this machine, for ``status``; None before the first one needed it. ``gpus_present``: how
    many there are; None: not known. ``devices``: those that have a name, with their paths.
    """

    drivers: tuple[Driver, ...] = ()
    folder: Path | None = None
    folders: Folders | None = None
    probe: Probe = field(default_factory=NoProbe)
    artifacts: Artifacts = field(default_factory=NoArtifacts)
    assigner: Assigner = field(default_factory=NoAssigner)
    environ: Environ = plain_environ
    deadlines: Deadlines = Deadlines()
    leases: Leases | None = None
    machine_boot: str = "-"
    boot_s: Callable[[], float] | None = None
    inherited: Mapping[str, str] = field(default_factory=dict)
    limits: Callable[[], Mapping[str, Any] | None] = lambda: None
    gpus_present: Callable[[], int | None] = lambda: None
    devices: Mapping[str, str] = field(default_factory=dict)
