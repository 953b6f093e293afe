"""The contract of a cage: what confines one run of a driver that starts processes of this machine.

Before a start the driver asks for a cage and hands its ``Confinement`` to the shim, which imposes it on
the first process between fork and exec, so that nothing of the run is ever outside. A cage is found
again by the work's id alone: it outlives the agent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from farshore_edge.tasks.drivers.model import Usage, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """``procs_files``: each is written the first process's id (``cgroup.procs``); one that can't be
    written fails the start. ``kill_files``: to which "1" is written to end all that is in them at once
    (``cgroup.kill``); ``freezer_file``: where what is frozen can be ended without forking away
    (``freezer.state``). ``rlimits``: by their names in ``resource`` (``RLIMIT_NPROC``), soft and
    hard alike. ``cpus``: numbers of the processors that it may use, empty: any. ``oom_score_adj``: the
    higher, the sooner the kernel ends it where memory runs out."""

    procs_files: tuple[str, ...] = ()
    kill_files: tuple[str, ...] = ()
    freezer_file: str | None = None
    rlimits: Mapping[str, int] = field(default_factory=dict)
    cpus: tuple[int, ...] = ()
    oom_score_adj: int = 500


class Cage(Protocol):
    """Calls are quick (files of the kernel), and made in any thread."""

    @property
    def confinement(self) -> Confinement: ...

    def pids(self) -> frozenset[int] | None:
        """All that is in it; None where it can't tell, and processes are found by session and mark."""
        ...

    def kill(self) -> None:
        """SIGKILL to all that is in it, in a way that none forks away from; nothing where ``pids`` can't
        tell. It is repeated until ``pids`` is empty."""
        ...

    def usage(self) -> Usage | None:
        """None where it can't tell."""
        ...

    def was_oom(self) -> bool:
        """Whether the kernel has ended something in it because of its memory limit."""
        ...

    def remove(self) -> None:
        """Once nothing is in it any more; nothing where it is gone already."""
        ...


class Cages(Protocol):
    def make(self, work: Work) -> Cage:
        """Empty, with the work's limits set; one of the same id that is left over is taken. Raises
        DriverError where a limit that was asked for can't be kept on this machine at all."""
        ...

    def find(self, work_id: str) -> Cage:
        """As an earlier agent has made it, or one that holds nothing."""
        ...

    def ids(self) -> frozenset[str]:
        """Of all works that have a cage here."""
        ...


class Open:
    """A cage that confines nothing."""

    def __init__(self, confinement: Confinement | None = None) -> None:
        self.confinement = confinement or Confinement()

    def pids(self) -> frozenset[int] | None:
        return None

    def kill(self) -> None:
        return None

    def usage(self) -> Usage | None:
        return None

    def was_oom(self) -> bool:
        return False

    def remove(self) -> None:
        return None


class OpenCages:
    """For a machine where nothing can be confined: processors are given by affinity alone."""

    def make(self, work: Work) -> Cage:
        return Open(Confinement(cpus=work.cpus))

    def find(self, work_id: str) -> Cage:  # noqa: ARG002 # the contract
        return Open()

    def ids(self) -> frozenset[str]:
        return frozenset()
