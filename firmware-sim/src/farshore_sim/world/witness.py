"""What truly happened in a world, written down from outside of agents and center.

It also keeps the trace: a digest that every event runs into, so that two runs of one plan can be
compared, and the violations. What must hold is decided elsewhere.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from farshore_edge.database import Mark, Record

VIOLATIONS_KEPT = 50
FORGOTTEN = -1
"""In place of a disk's life: one that its node does not remember."""

StreamKey = tuple[str, str, str]
"""(node, stream, epoch)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """``invariant``: I1 … I13, see docs/world.md."""

    at_s: float
    invariant: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at_s:.3f} s: {self.text}"


@dataclass(slots=True)
class Counts:
    records: int = 0
    commands: int = 0
    effects: int = 0
    messages: int = 0
    node_commits: int = 0
    center_commits: int = 0
    agent_lives: int = 0
    center_lives: int = 0
    tasks: int = 0
    task_runs: int = 0
    task_runs_leased: int = 0
    task_results: int = 0
    task_moves: int = 0
    task_overlaps_excused: int = 0


@dataclass(slots=True)
class Witness:
    """``made``: every record that became durable at a node, lives and wiped disks included.

    ``effects``: for each (node, tag), the lives of the disk in which it happened.
    ``commands``: tag → id of each that travelled. ``others``: records under seqs that a disk which
    went back in time gave a second time. ``justified``: reasons for which records may be lost in this world.
    """

    time_s: Callable[[], float]
    justified: frozenset[str] = frozenset()
    keep_trace: bool = False
    made: dict[StreamKey, dict[int, Record]] = field(default_factory=dict)
    reserved: dict[StreamKey, int] = field(default_factory=dict)
    effects: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    others: dict[StreamKey, dict[int, list[Record]]] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    trace: list[str] = field(default_factory=list)
    _digest: hashlib.blake2b = field(default_factory=lambda: hashlib.blake2b(digest_size=16))
    _repeats: dict[StreamKey, int] = field(default_factory=dict)
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def note(self, what: str, *details: object) -> None:
        line = f"{self.time_s():.6f} {what} {' '.join(map(str, details))}"
        self._digest.update(line.encode())
        self._digest.update(b"\n")
        if self.keep_trace:
            self.trace.append(line)

    def digest(self) -> str:
        return self._digest.hexdigest()

    def violated(self, invariant: str, text: str) -> None:
        """The same words about the same invariant count once."""
        if (invariant, text) in self._seen or len(self.violations) >= VIOLATIONS_KEPT:
            return
        self._seen.add((invariant, text))
        self.note("violation", invariant, text)
        self.violations.append(Violation(at_s=self.time_s(), invariant=invariant, text=text))

    def came_to_be(self, node: str, epoch: str, record: Record) -> None:
        held = self.made.setdefault((node, record.stream, epoch), {})
        before = held.get(record.seq)
        if before is None:
            held[record.seq] = record
            self.counts.records += 1
        elif before == record:
            return
        elif record.seq > self._repeats.get((node, record.stream, epoch), record.seq):
            others = self.others.setdefault((node, record.stream, epoch), {})
            alike = others.setdefault(record.seq, [])
            if record not in alike:
                alike.append(record)
        else:
            self.violated("I3", f"{node} gave {record.stream} {record.seq} to two records")

    def may_number(self, node: str, epoch: str, mark: Mark) -> None:
        key = (node, mark.stream, epoch)
        self.reserved[key] = max(self.reserved.get(key, 0), mark.reserved)

    def may_repeat(self, key: StreamKey, above: int) -> None:
        """The disk went back in time: seqs above are given to other records."""
        self._repeats[key] = min(above, self._repeats.get(key, above))

    def repeats(self, key: StreamKey) -> bool:
        return key in self._repeats

    def may_run_again(self, node: str, tag: str) -> None:
        """The node's ledger knows nothing of it any more."""
        lives = self.effects.get((node, tag), [])
        lives[:] = [FORGOTTEN] * len(lives)

    def head(self, key: StreamKey) -> int:
        return max(self.made.get(key, {}), default=0)

    def had_effect(self, node: str, tag: str, disk: int) -> None:
        lives = self.effects.setdefault((node, tag), [])
        self.counts.effects += 1
        if disk in lives:
            self.violated("I4", f"{node} did the command {tag} a second time")
        lives.append(disk)
        self.note("effect", node, tag)
