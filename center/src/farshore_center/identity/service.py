"""Keeps the center's identity, judges what nodes have seen of it, and says when it was restored.

What a restore does is written in one transaction: the state, its event, and the commands that are
held until a person says ``resume``. It decides nothing about streams; ingest asks it what to say.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import orjson
import structlog
from farshore_protocol.messages import CenterMark
from sqlalchemy import Connection

from farshore_center.db.database import Database
from farshore_center.events import Draft, Event, EventLog
from farshore_center.events.instant import rfc3339
from farshore_center.identity import store
from farshore_center.identity.recognition import Epoch, History, Relation, judge

log = structlog.get_logger(__name__)

BY_NODES = "nodes"
BY_PERSON = "person"


class Holder(Protocol):
    """What the commands' room does, inside a transaction."""

    def hold(self, conn: Connection, /) -> int: ...

    def release(self, conn: Connection, /) -> int: ...

    def count_held(self, conn: Connection, /) -> int: ...

    def released(self) -> None: ...


class IdentityService:
    def __init__(
        self,
        database: Database,
        events: EventLog,
        holder: Holder,
        *,
        now_ms: Callable[[], int],
        name: str,
        epoch: str,
    ) -> None:
        """``name`` is for a database that has none yet; ``epoch`` names this start."""
        self._database = database
        self._events = events
        self._holder = holder
        self._now_ms = now_ms
        self._epochs: dict[str, Epoch] = {}
        self._history = History(database=name, number=0, restored_number=0, epochs=self._epochs)
        self._judging = asyncio.Lock()
        self._state, self._since_ms = "normal", 0
        self._lost_heads: dict[tuple[str, str, str], int] = {}
        self._seen: dict[str, tuple[str, int]] = {}
        self.epoch = epoch
        self.database = name
        self.generation = 0
        """Of the last commit that acknowledgements may rest on."""
        self.generation_at_start = 0
        self.strangers = 0

    async def start(self, *, restored: bool) -> None:
        """Writes this start. ``restored``: a person says that the database is from a backup."""
        now_ms = self._now_ms()

        def work(connection: Connection) -> tuple[store.Loaded, list[Any], list[Event]]:
            loaded = store.begin(
                connection, database=self.database, epoch=self.epoch, now_ms=now_ms
            )
            events: list[Event] = []
            if restored:
                number = loaded.epochs[self.epoch].number
                before = max(
                    (e for e in loaded.epochs if e != self.epoch and loaded.epochs[e].known),
                    key=lambda e: loaded.epochs[e].number,
                    default=None,
                )
                if before is not None:
                    store.cut(connection, before)
                events = self._restore(connection, number, {"by": BY_PERSON, "epoch": before})
            return loaded, store.load_aheads(connection), events

        loaded, aheads, events = await self._database.write(work)
        self._epochs.update(loaded.epochs)
        present = self._epochs[self.epoch]
        self.database = loaded.database
        self.generation = self.generation_at_start = present.generation
        self._history = History(
            database=loaded.database,
            number=present.number,
            restored_number=present.number if restored else loaded.restored_number,
            epochs=self._epochs,
        )
        self._state = "restored" if restored else loaded.state
        self._since_ms = now_ms if restored else loaded.since_ms
        for row in aheads:
            self._seen[row["node"]] = row["epoch"], row["generation"]
            self._note_missing(row["node"], orjson.loads(row["streams"]))
        self._events.announce(events)
        if self._state == "restored":
            log.warning("this center was restored; commands are held until a person resumes")

    def _restore(self, connection: Connection, number: int, data: dict[str, Any]) -> list[Event]:
        now_ms = self._now_ms()
        store.set_state(connection, "restored", now_ms=now_ms, restored_number=number)
        held = self._holder.hold(connection)
        data = {**data, "generation": self.generation, "held_commands": held}
        return self._events.append(
            connection, [Draft(kind="center.restored", data=data, at_ms=now_ms)]
        )

    # What nodes have seen

    async def judged(self, node: str, mark: CenterMark | None) -> bool:
        """Whether the node is ahead. Before its birth is taken, so that nothing is sent to it which
        a restore would hold."""
        async with self._judging:
            return await self._judged(node, mark)

    async def _judged(self, node: str, mark: CenterMark | None) -> bool:
        present = self._epochs[self.epoch]
        # Nobody can have seen more of this start than was committed.
        self._epochs[self.epoch] = replace(present, generation=self.generation)
        verdict = judge(self._history, mark)
        if verdict.relation is Relation.STRANGER and mark is not None:
            self.strangers += 1
            log.warning("a node comes from another center", node=node, database=mark[0])
        if verdict.relation is not Relation.AHEAD or mark is None:
            return False
        _, epoch, generation = mark
        if not verdict.restored and self._seen.get(node) == (epoch, generation):
            return True
        await self._ahead(node, epoch, generation, restored=verdict.restored)
        return True

    async def _ahead(self, node: str, epoch: str, generation: int, *, restored: bool) -> None:
        history, now_ms = self._history, self._now_ms()
        known = history.epochs.get(epoch)
        data = {
            "epoch": epoch,
            "generation": generation,
            "known_generation": known.generation if known is not None and known.known else None,
        }

        def work(connection: Connection) -> list[Event]:
            events: list[Event] = []
            if restored:
                events += self._restore(
                    connection, history.number, {**data, "by": BY_NODES, "node": node}
                )
            if known is None:
                store.add_lost_epoch(connection, epoch, history.number, now_ms)
            else:
                store.cut(connection, epoch)
            store.save_ahead(
                connection, node=node, epoch=epoch, generation=generation, now_ms=now_ms
            )
            draft = Draft(kind="center.node_ahead", node=node, data=data, at_ms=now_ms)
            return [*events, *self._events.append(connection, [draft])]

        events = await self._database.write(work)
        self._seen[node] = epoch, generation
        if known is None:
            self._epochs[epoch] = Epoch(number=history.number, generation=0, known=False)
        if restored:
            self._history = replace(history, restored_number=history.number)
        if restored:
            self._state, self._since_ms = "restored", now_ms
            log.error(
                "the database is older than what a node has seen: it was restored; "
                "commands are held until a person resumes",
                node=node,
                epoch=epoch,
                generation=generation,
            )
        else:
            log.warning("a node is ahead of the restored database", node=node)
        self._events.announce(events)

    # For ingest

    def mark(self) -> CenterMark:
        """What an acknowledgement says of the database that it rests on."""
        return self.database, self.epoch, self.generation

    def advance(self, connection: Connection) -> int:
        """The next generation, in the transaction of what it stands for; it counts with
        ``advanced``, after the commit."""
        generation = self.generation + 1
        store.advance(connection, self.epoch, generation)
        return generation

    def advanced(self, generation: int) -> None:
        self.generation = max(self.generation, generation)

    def save_missing(
        self, connection: Connection, found: Sequence[tuple[str, list[dict[str, Any]]]]
    ) -> None:
        store.save_missing(connection, found)

    def noted_missing(self, found: Sequence[tuple[str, list[dict[str, Any]]]]) -> None:
        for node, streams in found:
            self._note_missing(node, streams)

    def _note_missing(self, node: str, streams: Sequence[dict[str, Any]]) -> None:
        for each in streams:
            self._lost_heads[node, each["stream"], each["epoch"]] = each["head"]

    def lost_head(self, node: str, stream: str, epoch: str) -> int:
        """Up to which seq a lost future may have acknowledged what is missing here."""
        return self._lost_heads.get((node, stream, epoch), 0)

    # For people

    @property
    def restored(self) -> bool:
        return self._state == "restored"

    @property
    def ahead(self) -> int:
        return len(self._seen)

    async def resume(self) -> int:
        """A person has looked: held commands go on. How many there were."""

        def work(connection: Connection) -> tuple[int, list[Event]]:
            now_ms = self._now_ms()
            released = self._holder.release(connection)
            store.set_state(connection, "normal", now_ms=now_ms)
            draft = Draft(kind="center.resumed", data={"held_commands": released}, at_ms=now_ms)
            return released, self._events.append(connection, [draft])

        if not self.restored:
            return 0
        released, events = await self._database.write(work)
        self._state, self._since_ms = "normal", self._now_ms()
        log.info("a person resumed the center", commands=released)
        self._events.announce(events)
        self._holder.released()
        return released

    async def document(self) -> dict[str, Any]:
        """For ``GET /api/v1/center``."""
        held, former, aheads = await self._database.read(
            lambda connection: (
                self._holder.count_held(connection),
                store.cut_epochs(connection),
                store.load_aheads(connection),
            )
        )
        return {
            "database": self.database,
            "epoch": self.epoch,
            "generation": self.generation,
            "state": self._state,
            "since": rfc3339(self._since_ms),
            "former": [
                {
                    "epoch": row["epoch"],
                    "generation": row["generation"] if row["known"] else None,
                    "began_at": rfc3339(row["began_ms"]) if row["known"] else None,
                }
                for row in former
            ],
            "nodes_ahead": [
                {
                    "node": row["node"],
                    "epoch": row["epoch"],
                    "generation": row["generation"],
                    "at": rfc3339(row["at_ms"]),
                    "streams": orjson.loads(row["streams"]),
                }
                for row in aheads
            ],
            "held_commands": held,
        }
