"""One step of a job, written: state, nodes, waves, history, events, all in one transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from farshore_center.events import Event, EventLog
from farshore_center.events.model import Draft
from farshore_center.jobs import store
from farshore_center.jobs.lifecycle import QUIET
from farshore_center.jobs.record import NodeRecord, Record, drafts, moved_on, write_out
from farshore_center.jobs.state import Action, EndWave, JobTo, Move, OpenWave, Snapshot
from farshore_center.jobs.ways import Telling, Ways

NOT_TOLD = "it was told nothing yet when the job was stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A step that was written; announce the events after the commit."""

    record: Record
    snapshot: Snapshot
    events: list[Event]


class Ledger:
    def __init__(self, events: EventLog, ways: Ways) -> None:
        self._events = events
        self._ways = ways

    def write(
        self,
        conn: Connection,
        record: Record,
        nodes: Sequence[NodeRecord],
        snapshot: Snapshot,
        actions: Iterable[Action],
        *,
        by: str,
        now_ms: int,
        telling: Telling | None = None,
        more: Sequence[Draft] = (),
    ) -> Kept | None:
        """None: the job was changed since it was loaded, and nothing was written."""
        actions, extra = list(actions), list(more)
        if any(isinstance(each, JobTo) and each.state in QUIET for each in actions):
            # What was not sent yet must not be sent any more: a stopped job is silent.
            unsent, withdrawn = self._ways.withdraw(conn, record.spec.payload, nodes, now_ms)
            before = {each.node: each for each in snapshot.nodes}
            # One that had a turn before goes back to where it was: it waits to be tried again.
            actions += [
                Move(node, "retrying" if before[node].attempts > 1 else "waiting", NOT_TOLD)
                for node in unsent
            ]
            extra += withdrawn
        written = write_out(snapshot, actions, now_ms, by)
        after = moved_on(record, written.snapshot.job, now_ms, snapshot.facts.gates)
        if not store.save(conn, record, after):
            return None
        told = None
        if telling is not None:
            told = telling.write(conn, now_ms)
            extra += telling.drafts
        stored = [each.each for each in nodes]
        store.save_nodes(conn, record.id, stored, written.snapshot.nodes, now_ms, told)
        store.add_steps(conn, record.id, written.steps, now_ms, by)
        for action in actions:
            self._write_wave(conn, record, action, now_ms)
        events = self._events.append(conn, [*extra, *drafts(written, now_ms)])
        kept = replace(written.snapshot, job=after.job)
        return Kept(record=after, snapshot=kept, events=events)

    def _write_wave(self, conn: Connection, record: Record, action: Action, now_ms: int) -> None:
        if isinstance(action, OpenWave):
            store.save_wave(
                conn,
                record.id,
                action.number,
                size=action.size,
                nodes=len(action.nodes),
                opened_ms=now_ms,
            )
        elif isinstance(action, EndWave):
            store.save_wave(conn, record.id, action.number, ended_ms=now_ms)
