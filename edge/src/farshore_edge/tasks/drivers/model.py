"""The contract of a driver.

A driver runs one instance at a time for each ``Work``, and keeps no state of its own that it needs after
the agent's death: ``trace`` holds all that finds the work again. Every driver has to pass one
conformance suite.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from farshore_protocol.tasks.spec import Limits, Requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One instance as a driver sees it.

    ``id``: ``task.instance.epoch``, a file name, different for every grant. ``run``: the driver's own
    settings, an instance of its ``settings`` type. ``folder``: the instance's directory, which exists;
    artifacts lie in it, and it is the working directory where the settings name none. ``output``: the
    file that standard output and error are appended to (a driver that has a better place says so by
    ``Running.log``). ``env``: complete, with references resolved and ``FARSHORE_*`` set;
    ``machine_env``: names in it that are the machine's (its ``PATH``, say) and not the task's, which a driver
    leaves out whose programs have a world of their own.
    ``cpus``: numbers of processors of its own, empty: any. ``gpus``: indices that it may use. ``devices``:
    name to path of those that it has to itself. ``state``: a directory beside it for the driver's own files.

    ``lease``: the file that says until when it may run (``leases/files.py``), None: for ever. A driver
    sees to it that the work ends by then, by ``stop_signal`` and then by force, where no agent lives.
    """

    id: str
    run: Any
    folder: Path
    state: Path
    output: Path
    env: Mapping[str, str]
    machine_env: frozenset[str] = frozenset()
    requests: Requests
    limits: Limits
    cpus: tuple[int, ...] = ()
    gpus: tuple[int, ...] = ()
    gpu_milli: int = 0
    devices: Mapping[str, str] = field(default_factory=dict)
    lease: Path | None = None
    stop_signal: str = "SIGTERM"
    stop_grace_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a run ended: just one of ``exit_code`` and ``signal`` (``SIGKILL``) where that is known, none
    where it ended unseen. ``oom``: the kernel ended it because of its memory limit."""

    exit_code: int | None = None
    signal: str | None = None
    oom: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Of the whole instance: processor seconds since its start, bytes of memory now."""

    cpu_s: float
    memory_bytes: int


class DriverError(Exception):
    """It can't be prepared, started or stopped. ``code`` is for programs (``no_image``,
    ``bad_digest``, ``no_program``, ``unsupported`` …); ``permanent``: trying again can't help."""

    def __init__(self, code: str, detail: str, *, permanent: bool = False) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.permanent = permanent


class Running(Protocol):
    """A run that was started or taken up again."""

    @property
    def trace(self) -> Mapping[str, Any]:
        """JSON: what ``Driver.adopt`` needs to find it after the agent's death."""
        ...

    @property
    def pid(self) -> int | None:
        """Of its first process, for people."""
        ...

    async def wait(self) -> Exit:
        """Until it has ended, and nothing of it is left. May be cancelled and called again."""
        ...

    async def stop(self, signal: str, grace_s: float) -> Exit:
        """Asks it to end by the signal, and kills all of it after the grace. Raises DriverError where
        something can't be ended."""
        ...

    async def usage(self) -> Usage | None:
        """None where it can't be told."""
        ...


class Driver(Protocol):
    """``settings``: the dataclass of its part of the specification, from which its JSON Schema is made."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> type[Any]: ...

    async def available(self) -> str | None:
        """Why this machine can't use it; None where it can. Asked at the agent's start."""
        ...

    async def prepare(self, work: Work) -> None:
        """All that may take long before a start: an image, an environment. Repeated after a crash, so
        what is there is found again. Raises DriverError."""
        ...

    async def start(self, work: Work) -> Running:
        """Raises DriverError, and then nothing of it runs."""
        ...

    async def adopt(self, work: Work, trace: Mapping[str, Any]) -> Running | None:
        """What an earlier agent started, running or ended meanwhile (then ``wait`` answers at once);
        None where nothing is known of it, and nothing of it runs. ``trace`` is empty where that agent
        died between the start and writing it down: the work is then found by its id."""
        ...

    async def sweep(self, keep: frozenset[str]) -> list[str]:
        """Ends what runs by this driver for this agent's data folder and belongs to no ``Work.id`` of
        ``keep``; says in words what it ended."""
        ...

    async def remove(self, work: Work) -> None:
        """Nothing of the ended instance is kept, except its folder, which is the supervisor's."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a driver that hands work to a cluster adds to the node: then the node's own processors and
    memory do not count for its tasks."""

    cpu_cores: float
    memory_bytes: int
    facts: Mapping[str, Any] = field(default_factory=dict)
