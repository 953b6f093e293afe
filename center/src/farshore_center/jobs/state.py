"""What the engine sees of a job, and what it answers. Data alone; times in ms of the center's clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from farshore_center.jobs.rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """`wave` counts from 1; 0: none was opened. `approved`: the last wave that may begin."""

    id: str
    rules: Rules
    state: str = "scheduled"
    reason: str | None = None
    following: bool = False
    start_ms: int = 0
    deadline_ms: int | None = None
    wave: int = 0
    wave_size: int = 0
    wave_ended_ms: int | None = None
    approved: int = 1

    @property
    def soaked_ms(self) -> int | None:
        """Until when the wave is watched after its end; None while it has not ended."""
        if self.wave_ended_ms is None:
            return None
        return self.wave_ended_ms + round(self.rules.soak_s * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobNode:
    """A node in a job. `heard`: what it said about its last attempt, None while it says nothing.

    `forgiven`: a person has seen its failure and went on.
    """

    node: str
    state: str = "waiting"
    wave: int = 0
    attempts: int = 0
    started_ms: int | None = None
    heard: str | None = None
    forgiven: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a node is, whether its maintenance window is open, and if not, when one opens next; None:
    never."""

    group: str = ""
    open: bool = True
    opens_ms: int | None = None


class Verdict(NamedTuple):
    holds: bool
    detail: str


class Judged(NamedTuple):
    """The verdicts on the gates, in the order of the rules, and when they were reached."""

    at_ms: int
    verdicts: tuple[Verdict, ...]

    @property
    def held(self) -> tuple[bool, ...]:
        return tuple(each.holds for each in self.verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Of the world around the job. `members`: who matches now, None when membership is fixed.

    `disrupted`: nodes that are offline, busy with another job, or ill, for whatever reason.
    """

    places: Mapping[str, Place] = field(default_factory=dict)
    disrupted: frozenset[str] = frozenset()
    group_sizes: Mapping[str, int] = field(default_factory=dict)
    members: frozenset[str] | None = None
    gates: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    job: Job
    nodes: tuple[JobNode, ...]
    facts: Facts = Facts()


# What is to be done


class Join(NamedTuple):
    nodes: tuple[str, ...]


class Move(NamedTuple):
    """A node's new state; nothing is sent."""

    node: str
    state: str
    reason: str | None = None


class OpenWave(NamedTuple):
    """These nodes are the wave; they are started as the limits permit."""

    number: int
    size: int
    nodes: tuple[str, ...]


class StartNodes(NamedTuple):
    nodes: tuple[str, ...]


class UndoNodes(NamedTuple):
    nodes: tuple[str, ...]


class EndWave(NamedTuple):
    number: int


class JobTo(NamedTuple):
    """The job's new state."""

    state: str
    reason: str | None = None


Action = Join | Move | OpenWave | StartNodes | UndoNodes | EndWave | JobTo
