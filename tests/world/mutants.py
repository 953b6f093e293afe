"""Defects, put into the real agent and center on purpose: a world must notice each of them.

``MUTANTS``: name → how to break it. docs/world.md says at which seed each is found.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from farshore_center.commands import engine as command_engine
from farshore_center.commands import store as command_store
from farshore_center.commands.questions import Questions
from farshore_center.identity.service import IdentityService
from farshore_center.ingest import service as ingest_service
from farshore_center.ingest import store as ingest_store
from farshore_center.ingest.answers import acknowledgements
from farshore_center.ingest.engine import decide
from farshore_center.ingest.intake import Intake
from farshore_center.ingest.service import IngestService
from farshore_center.ingest.shelf import Shelf
from farshore_center.nodes import presence
from farshore_center.telemetry import store as telemetry_store
from farshore_center.telemetry.model import chunks
from farshore_center.uplink import ExternalUplink
from farshore_edge.commands.ledger import Ledger
from farshore_edge.commands.recovery import Recovery
from farshore_edge.outbox.durable import DurableWay
from farshore_edge.outbox.held import Held
from farshore_edge.outbox.journal import Journal
from farshore_edge.outbox.outbox import Outbox
from farshore_edge.outbox.rewind import Gate
from farshore_edge.outbox.streams import Stream
from farshore_edge.presence import Presence
from farshore_protocol.codec import decode
from farshore_protocol.ids import Ids
from farshore_protocol.messages import Heartbeat
from farshore_protocol.stream import Book, Sender
from farshore_protocol.topics import Up
from sqlalchemy import insert

Patch = pytest.MonkeyPatch


def acknowledged_before_the_commit(patch: Patch) -> None:
    whole: Any = IngestService._settle_group

    async def settle(self: Any, items: Any) -> None:
        await self._shelf.load({item.node for item in items})
        books = {key: _copy(book) for key, book in self._shelf.books.items()}
        early = decide(books, items)
        for message in acknowledgements(books, early.acknowledge):
            await self._downlink.send(message)
        await whole(self, items)

    patch.setattr(IngestService, "_settle_group", settle)


def _copy(book: Book) -> Book:
    return Book(accepted=book.accepted, lost=book.lost, head=book.head)


def sent_before_durable(patch: Patch) -> None:
    whole: Any = DurableWay.start

    def start(self: Any, change: Any) -> Any:
        for record in change.records:
            self.recent.remember([record])
            self._sender.appended(record.stream, record.seq)
        self._woken()
        return whole(self, change)

    patch.setattr(DurableWay, "start", start)


def books_kept_after_a_failed_commit(patch: Patch) -> None:
    patch.setattr(Shelf, "forget", lambda _self, _nodes: None)


def books_not_loaded_after_a_restart(patch: Patch) -> None:
    patch.setattr(ingest_store, "load_books", lambda _connection, _nodes: {})


def duplicates_accepted(patch: Patch) -> None:
    whole: Any = Book.accept

    def accept(self: Any, seq: int) -> bool:
        whole(self, seq)
        return True

    patch.setattr(Book, "accept", accept)


def command_not_noted_before_it_runs(patch: Patch) -> None:
    async def note(_self: Any, _entry: Any) -> None:
        return None

    patch.setattr(Ledger, "note", note)


def ledger_not_asked(patch: Patch) -> None:
    patch.setattr(Ledger, "find", lambda _self, _command_id: None)


def interrupted_command_run_again(patch: Patch) -> None:
    async def report_died(self: Any, entry: Any) -> None:
        self._reception.start(entry.id, self._run_again(entry))

    patch.setattr(Recovery, "_report_died", report_died)


def sent_command_cancelled(patch: Patch) -> None:
    def cancel(target: Any, now_ms: int) -> Any:
        if target.state not in ("queued", "sent"):
            return None
        return replace(target, state="cancelled", updated_ms=now_ms)

    patch.setattr(command_engine, "cancel", cancel)


def late_word_about_the_center_believed(patch: Patch) -> None:
    patch.setattr(ExternalUplink, "_saw_state", lambda _self, _payload: None)


def late_death_of_a_node_believed(patch: Patch) -> None:
    def said(standing: Any, *, online: bool, boot: str, conn: int, now_s: float) -> Any:
        new = replace(standing, online=online)
        if online:
            new = replace(new, boot=boot, conn=conn, deadline_s=now_s + standing.patience_s())
        change = None if new.online == standing.online else ("online" if online else "offline")
        return new, change

    patch.setattr(presence, "said", said)
    patch.setattr(Presence, "saw_own", lambda _self, _word: None)
    patch.setattr(presence, "beat", lambda standing, **_word: (replace(standing), None))


def wiped_disk_keeps_its_epoch(patch: Patch) -> None:
    patch.setattr(Ids, "epoch", lambda _self: "always-the-same")


def acknowledgement_of_another_epoch_believed(patch: Patch) -> None:
    whole: Any = Sender.acknowledged

    def acknowledged(self: Any, stream: str, _epoch: str, ranges: Any) -> Any:
        lane = self._lanes.get(stream)
        return whole(self, stream, lane.epoch if lane else "", ranges)

    patch.setattr(Sender, "acknowledged", acknowledged)


def failed_change_not_kept(patch: Patch) -> None:
    patch.setattr(Journal, "_hold", lambda _self, _change: None)


def compacted_batches_not_deleted(patch: Patch) -> None:
    def apply(connection: Any, rewrite: Any) -> None:
        rows = [
            {name: getattr(new, name) for name in new.__dataclass_fields__} for new in rewrite.made
        ]
        if rows:
            connection.execute(insert(chunks), rows)

    patch.setattr(telemetry_store, "apply", apply)


def last_of_a_group_not_stored(patch: Patch) -> None:
    whole: Any = IngestService._sink

    def sink(self: Any, stream: str, records: Any, now_ms: int) -> Any:
        write = whole(self, stream, records, now_ms)
        if stream == "metrics" and len(records) > 1:
            return whole(self, stream, records[:-1], now_ms)
        return write

    patch.setattr(ingest_service.IngestService, "_sink", sink)


def reserved_seqs_given_out_again(patch: Patch) -> None:
    whole: Any = Stream.of.__func__  # type: ignore[attr-defined] # behind the classmethod

    def of(cls: Any, state: Any) -> Any:
        return whole(cls, replace(state, reserved=state.head))

    patch.setattr(Stream, "of", classmethod(of))


def dead_memory_not_declared(patch: Patch) -> None:
    async def recover(_self: Any, _aside: Any = None) -> None:
        return None

    patch.setattr(Outbox, "recover", recover)


def memory_not_written_at_stop(patch: Patch) -> None:
    patch.setattr(Held, "unspilt", lambda _self: [])


def said_from_memory_in_the_epoch_of_the_disk(patch: Patch) -> None:
    whole: Any = Outbox.say_from_memory

    def say(self: Any, stream: str, *args: Any, **named: Any) -> int:
        self.volatile._epoch = self._streams["events"].epoch
        return int(whole(self, stream, *args, **named))

    patch.setattr(Outbox, "say_from_memory", say)


def restore_not_recognised(patch: Patch) -> None:
    async def judged(_self: Any, _node: str, _mark: Any) -> bool:
        return False

    patch.setattr(IdentityService, "judged", judged)


def held_commands_sent_at_once(patch: Patch) -> None:
    patch.setattr(command_store, "hold", lambda _connection, _reason, _now_ms: 0)


def no_birth_for_a_center_that_comes(patch: Patch) -> None:
    """Neither said by the node nor asked for by the center: each alone is enough."""

    async def beat(intake: Intake, up: Up, payload: bytes) -> None:
        await intake._nodes.beat(up.node, decode(Heartbeat, payload))

    patch.setattr(Presence, "saw_center", lambda _self, _epoch, **_word: None)
    patch.setattr(Intake, "_heartbeat", beat)


def disk_that_went_back_not_noticed(patch: Patch) -> None:
    patch.setattr(Gate, "rewound", lambda _self: False)


def open_commands_not_asked_for(patch: Patch) -> None:
    patch.setattr(Questions, "node_arrived", lambda _self, _node: None)


MUTANTS: dict[str, Callable[[Patch], None]] = {
    mutant.__name__: mutant
    for mutant in (
        acknowledged_before_the_commit,
        sent_before_durable,
        books_kept_after_a_failed_commit,
        books_not_loaded_after_a_restart,
        duplicates_accepted,
        command_not_noted_before_it_runs,
        interrupted_command_run_again,
        sent_command_cancelled,
        late_word_about_the_center_believed,
        late_death_of_a_node_believed,
        wiped_disk_keeps_its_epoch,
        failed_change_not_kept,
        compacted_batches_not_deleted,
        last_of_a_group_not_stored,
        reserved_seqs_given_out_again,
        dead_memory_not_declared,
        memory_not_written_at_stop,
        said_from_memory_in_the_epoch_of_the_disk,
        restore_not_recognised,
        no_birth_for_a_center_that_comes,
        disk_that_went_back_not_noticed,
        open_commands_not_asked_for,
    )
}

RARE: dict[str, Callable[[Patch], None]] = {
    mutant.__name__: mutant
    for mutant in (
        ledger_not_asked,
        acknowledgement_of_another_epoch_believed,
        held_commands_sent_at_once,
    )
}
"""Found by more seeds than a test may take, or not found yet: see docs/world.md."""
