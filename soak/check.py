"""What must hold after a soak, read from the files that nodes and center have left, past their code.

Only the formats are shared with the center: how a stored batch and a chunk are unpacked.
"""

import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from farshore_center.telemetry import chunk, inbox
from farshore_protocol.commands.lifecycle import FINAL
from farshore_protocol.stream import RangeSet
from farshore_protocol.telemetry import inflate

from soak.load import Load
from soak.violation import Violation
from soak.witness import HEADS, SERIES, Witness

MOST_TOLD = 20
"""Of one kind at one place."""


@dataclass(slots=True)
class Tally:
    """What was checked; a check of nothing would hold always."""

    records_accepted: int = 0
    duplicates_refused: int = 0
    records_lost: int = 0
    batches_accepted: int = 0
    batches_witnessed: int = 0
    samples_stored: int = 0
    commands: Counter[str] = field(default_factory=Counter)
    effects: int = 0

    def plain(self) -> dict[str, Any]:
        return asdict(self) | {"commands": dict(sorted(self.commands.items()))}


class Check:
    """``may_lose``: reasons for which metrics may stand in the ledger of losses."""

    def __init__(self, folder: Path, nodes: Sequence[str], may_lose: Collection[str] = ()) -> None:
        self._folder = folder
        self._nodes = nodes
        self._may_lose = frozenset(may_lose)
        self.tally = Tally()
        self.violations: list[Violation] = []

    def run(self, load: Load, witness: Witness) -> None:
        self.violations += witness.violations
        with _opened(self._folder / "center" / "center.db") as center:
            self._sound("center", center)
            for node in self._nodes:
                with _opened(self._folder / node / "agent.db") as agent:
                    self._sound(node, agent)
                    self._streams(node, agent, center, witness)
                self._telemetry(node, center, witness)
            self._commands(center, load)

    def _say(self, promise: str, where: str, detail: str) -> None:
        self.violations.append(Violation(promise=promise, where=where, detail=detail))

    def _sound(self, name: str, database: sqlite3.Connection) -> None:
        (word,) = database.execute("PRAGMA integrity_check").fetchone()
        if word != "ok":
            self._say("a database survives", name, word)

    # Streams

    def _streams(
        self, node: str, agent: sqlite3.Connection, center: sqlite3.Connection, witness: Witness
    ) -> None:
        books = {
            (stream, epoch): (RangeSet(json.loads(accepted)), RangeSet(json.loads(lost)), head)
            for stream, epoch, accepted, lost, head in center.execute(
                "SELECT stream, epoch, accepted, lost, head FROM stream_book WHERE node = ?", [node]
            )
        }
        (refused,) = center.execute(
            "SELECT sum(duplicates) FROM stream_book WHERE node = ?", [node]
        ).fetchone()
        self.tally.duplicates_refused += refused or 0
        waiting = dict(agent.execute("SELECT stream, count(*) FROM record GROUP BY stream"))
        for stream, epoch, head in agent.execute(HEADS):
            where = f"{node} {stream} {epoch}"
            accepted, lost, told = books.pop((stream, epoch), (RangeSet(), RangeSet(), 0))
            settled = accepted.copy()
            settled.update(lost)
            self.tally.records_accepted += len(accepted)
            self.tally.batches_accepted += len(accepted) if stream == "metrics" else 0
            self.tally.records_lost += len(lost)
            if told != head or settled.pairs() != ([(1, head)] if head else []):
                books_say = f"head {told}, accepted {accepted}, lost {lost}"
                self._say("nothing is missing", where, f"head at the node {head}; {books_say}")
            both = [part for first, last in lost for part in accepted.within(first, last)]
            if both:
                self._say("accepted or lost", where, f"both: {both[:MOST_TOLD]}")
            if waiting.get(stream):
                self._say("what is accepted is put away", where, f"{waiting[stream]} still kept")
            _, seen = witness.heads.get((node, stream), (epoch, 0))
            if head < seen:
                self._say("numbers go on", where, f"was {seen} once, ended at {head}")
            self._losses(node, stream, lost, agent, center)
        for stream, epoch in books:
            self._say("one epoch of one disk", f"{node} {stream}", f"a book of epoch {epoch}")

    def _losses(
        self,
        node: str,
        stream: str,
        lost: RangeSet,
        agent: sqlite3.Connection,
        center: sqlite3.Connection,
    ) -> None:
        """Each loss is declared by the node, for a reason that this soak has."""
        where = f"{node} {stream}"
        ledger = center.execute(
            "SELECT first, last, reason FROM stream_loss WHERE node = ? AND stream = ?",
            [node, stream],
        ).fetchall()
        for first, last, reason in ledger:
            if stream != "metrics" or reason not in self._may_lose:
                self._say("losses have a reason", where, f"{first}..{last}: {reason}")
        declared = RangeSet(
            agent.execute("SELECT first, last FROM loss WHERE stream = ?", [stream]).fetchall()
        )
        for first, last in lost:
            if declared.missing(first, last):
                self._say("losses are declared", where, f"{first}..{last} is not in its ledger")

    # Telemetry

    def _telemetry(self, node: str, center: sqlite3.Connection, witness: Witness) -> None:
        instants: dict[str, Counter[int]] = {}
        samples: Counter[float] = Counter()
        for series, t_ms, values in stored(center, node):
            instants.setdefault(series, Counter()).update(t_ms)
            if series == SERIES:
                samples.update(values)
        self.tally.samples_stored += sum(samples.values())
        for series, times in instants.items():
            twice = [t for t, count in times.items() if count > 1]
            if twice:
                self._say("no sample twice", f"{node} {series}", f"instants {twice[:MOST_TOLD]}")
        again = [value for value, count in samples.items() if count > 1]
        if again:
            self._say("no sample twice", f"{node} {SERIES}", f"values {again[:MOST_TOLD]}")
        accepted = RangeSet()
        for (ranges,) in center.execute(
            "SELECT accepted FROM stream_book WHERE node = ? AND stream = 'metrics'", [node]
        ):
            accepted.update(RangeSet(json.loads(ranges)))
        for (name, _, seq), expected in witness.samples.items():
            if name != node or seq not in accepted:
                continue
            self.tally.batches_witnessed += 1
            missing = [value for value in expected if value not in samples]
            if missing:
                self._say("accepted is stored", f"{node} metrics {seq}", f"no samples {missing}")
        self._inbox(node, center, accepted)

    def _inbox(self, node: str, center: sqlite3.Connection, accepted: RangeSet) -> None:
        """Batches that lie as they came: each of one number, of the accepted ones."""
        seqs = Counter(_inbox_seqs(center, node))
        wrong = [seq for seq, count in seqs.items() if count > 1 or seq not in accepted]
        if wrong:
            self._say("stored once", f"{node} metrics", f"batches {wrong[:MOST_TOLD]}")

    # Commands

    def _commands(self, center: sqlite3.Connection, load: Load) -> None:
        targets: dict[str, dict[str, str]] = {}
        for command_id, node, state in center.execute(
            "SELECT command_id, node, state FROM command_target"
        ):
            targets.setdefault(command_id, {})[node] = state
            self.tally.commands[state] += 1
            if state not in FINAL:
                self._say("a command ends", f"{command_id} at {node}", state)
        effects = load.effects()
        self.tally.effects = sum(effects.values())
        for (node, line), count in effects.items():
            if count > 1:
                self._say("at most once", f"{line} at {node}", f"{count} effects")
        known = set(load.pings)
        for one in load.given:
            known.add(one.id)
            state = targets.get(one.id, {}).get(one.node)
            done = effects[one.node, one.line]
            where = f"{one.id} ({one.line}) at {one.node}"
            if state is None:
                self._say("a command that was taken is kept", where, "the center has none")
            elif not fits(state, done):
                self._say("the center says what happened", where, f"{state}, {done} effects")
        for strange in targets.keys() - known:
            self._say("one key, one command", strange, "nobody was answered this id")


def fits(state: str, effects: int) -> bool:
    """Whether a final state and the number of effects go together."""
    match state:
        case "succeeded":
            return effects == 1
        case "expired" | "cancelled" | "rejected" | "queued":
            return effects == 0
        case _:
            return effects <= 1


def stored(center: sqlite3.Connection, node: str) -> Iterator[tuple[str, list[int], list[float]]]:
    """What the history holds of a node: series, instants, values; part by part."""
    for t0_ms, approximate, payload in center.execute(
        "SELECT t0_ms, approximate, payload FROM telemetry_batch WHERE node = ?", [node]
    ):
        batch = inbox.unpack(t0_ms=t0_ms, approximate=bool(approximate), payload=payload)
        t_ms = [batch.ts_ms + dt for dt in batch.dt_ms]
        for series, values in batch.series.items():
            present = [(t, v) for t, v in zip(t_ms, values, strict=True) if v is not None]
            yield series, [t for t, _ in present], [v for _, v in present]
    for (payload,) in center.execute("SELECT payload FROM telemetry_chunk WHERE node = ?", [node]):
        samples = chunk.decode(payload)
        for series, column in samples.columns.items():
            here = samples.t_ms[column.present]
            known = ~np.isnan(column.values)  # NaN is null
            yield series, here[known].tolist(), column.values[known].tolist()


def _inbox_seqs(center: sqlite3.Connection, node: str) -> Iterator[int]:
    for (payload,) in center.execute("SELECT payload FROM telemetry_batch WHERE node = ?", [node]):
        if payload[:1] in (b"{", b"x"):  # as it came, not packed here
            yield orjson.loads(inflate(payload))["seq"]


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        yield connection
