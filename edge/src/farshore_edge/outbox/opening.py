"""How the outbox begins: what the disk holds is opened, what a crash put at risk is declared, and the
center is asked how far it knows it; a disk that went back in time goes on in a new epoch.

It says when records may be sent; it sends none.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from farshore_protocol.stream import STREAMS, Sender

from farshore_edge.database import Change, Database, Mark, Record, SetAside, StreamState
from farshore_edge.errors import DatabaseError, DiskError
from farshore_edge.outbox.changes import joined
from farshore_edge.outbox.envelope import Timing
from farshore_edge.outbox.journal import Journal
from farshore_edge.outbox.losses import DATABASE_DAMAGED, DIED, Losses
from farshore_edge.outbox.rewind import Gate
from farshore_edge.outbox.streams import Stream
from farshore_edge.outbox.turning import Turned, turned

log = logging.getLogger(__name__)


class Opening:
    """``absent``: why there is no database, None when there is one."""

    def __init__(
        self,
        database: Database,
        sender: Sender,
        streams: dict[str, Stream],
        losses: Losses,
        journal: Journal,
        *,
        now: Callable[[], Timing],
        write: Callable[[Change], Awaitable[None]],
        at_rest: Callable[[], Awaitable[None]],
        draw_epoch: Callable[[], str] | None,
        asks: bool,
    ) -> None:
        """Fills ``streams``. ``write`` makes a change durable; ``at_rest`` waits for what is being
        written; ``asks``: nothing is sent before the center has answered."""
        self._database = database
        self._sender = sender
        self._streams = streams
        self._losses = losses
        self._journal = journal
        self._now = now
        self._write = write
        self._at_rest = at_rest
        self._draw_epoch = draw_epoch
        self._asks = asks
        self._at_risk: list[tuple[str, int, int]] = []
        self._began: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._doubt: Mapping[str, int] = {}
        """The heads of a start that the disk does not know to be answered: the next start will call
        it a journey in time when the center knows more than these."""
        self._rewound: SetAside | None = None
        self._steady = asyncio.Event()
        """Not set while an epoch ends: nobody gets a seq of it any more."""
        self._steady.set()
        self._answered = asyncio.Event()
        self.gate = Gate({}, {})
        self.absent: DiskError | None = None
        try:
            self._open(database.streams())
        except DiskError as exc:
            self.absent = exc
            streams.update((name, Stream.none()) for name in STREAMS)
        if asks and self.absent is None:
            self._ask()
        else:
            self.gate.open = True
            self._answered.set()

    def _open(self, states: Mapping[str, StreamState]) -> None:
        for name, state in states.items():
            self._streams[name] = Stream.of(state)
            self._sender.open(
                name, epoch=state.epoch, kept=state.kept, head=self._streams[name].head
            )
            if state.reserved > state.head:
                self._at_risk.append((name, state.head + 1, state.reserved))

    def _ask(self) -> None:
        """The center is to say how far it knows these streams, before anything of them is sent."""
        self._began = {name: stream.head for name, stream in self._streams.items()}
        self._doubt = self._database.unanswered()
        self._before = {**self._began, **self._doubt}
        self.gate.shut({n: s.epoch for n, s in self._streams.items()}, self._before)
        self._answered.clear()

    def adopt(self) -> None:
        """There is a database now: ``recover`` is due. Raises DatabaseError, and nothing changed."""
        states = self._database.streams()
        self._journal.forget_commands(lambda known: self._database.command(known) is not None)
        self._open(states)
        if self._asks:
            self._ask()
        self.absent = None

    async def recover(self, aside: SetAside | None) -> None:
        """What died in memory is declared lost, and what a database held that was damaged and set
        ``aside``. Without a database: nothing, and its disk is tried again."""
        if self.absent is not None:
            self._journal.begin_unwritable(self.absent)
            return
        marks: list[Mark] = []
        at_risk, change = self._at_risk, Change()
        self._at_risk = []
        for stream, first, last in at_risk:
            lost = self._losses.declare(stream, [(first, last)], DIED)
            marks.append(self._streams[stream].mark(stream, 0))
            change = joined(change, replace(lost, marks=[marks[-1]]))
        if aside is not None and not aside.told:
            change = joined(change, self._set_aside(aside))
        if not self.gate.open and not self._database.unanswered():
            change = replace(change, unanswered=self._before)
        if change.records or change.unanswered is not None:
            await self._write(change)

    def _set_aside(self, aside: SetAside) -> Change:
        data = {
            "state": "set_aside",
            "file": aside.file,
            "error": aside.reason,
            "at": aside.at_ms,
        }
        told = self._event("evt/outbox", data)
        lost = self._losses.of_another_epoch(aside.lost, DATABASE_DAMAGED)
        return replace(lost, records=[told, *lost.records], aside=replace(aside, told=True))

    def _event(self, path: str, data: dict[str, Any]) -> Record:
        record = self._streams["events"].seal("events", path, {"data": data}, self._now())
        self._streams["events"].pending.add(record.seq)
        return record

    async def answered(self) -> bool:
        """The center has said how far it knows each stream. Whether records may be sent now: a disk
        that went back in time begins a new epoch first, and has to be well for that."""
        if not self.gate.rewound():
            # Durable first: what is sent from now on must not look like another disk's later. A disk
            # that fails can't note it now; until it does, nothing beyond its doubt is sent or said.
            await self._write(Change(unanswered={}))
            self.gate.open = True
            self._hold_doubtful()
        elif not await self._turned():
            return False
        self._answered.set()
        return True

    def noted(self, unanswered: Mapping[str, int]) -> None:
        """It is durable: the heads of a start that nobody has answered yet, or none."""
        self._doubt = unanswered
        if self.gate.open:
            self._hold_doubtful()

    def _hold_doubtful(self) -> None:
        for name in self._streams:
            self._sender.hold(name, above=self._doubt.get(name))

    async def until_steady(self) -> None:
        """Who was woken because an epoch had ended looks again: another may be ending now."""
        while not self._steady.is_set():
            await self._steady.wait()

    async def until_answered(self) -> SetAside | None:
        """Before it what this disk remembers may be less than what was; told once that it is."""
        await self._answered.wait()
        rewound, self._rewound = self._rewound, None
        return rewound

    def sure(self, name: str) -> int:
        """The last seq of the stream that may be announced."""
        told = self._streams[name].told
        sure = self.gate.open and not self._doubt
        return told if sure else min(told, self._before[name])

    async def _turned(self) -> bool:
        self._steady.clear()
        try:
            await self._at_rest()
            if self._draw_epoch is None or self._journal.outage() is not None:
                return False
            if not self.gate.whole:
                return False  # that connection is gone: it is asked anew on the next
            turn = turned(
                self._database,
                self._sender,
                self._streams,
                self.gate.answers,
                before=self._before,
                began=self._began,
                sent=self.gate.sent,
                epoch=self._draw_epoch(),
                now=self._now,
            )
            await self._database.commit(turn.change)
        except DatabaseError as exc:
            log.error("a new epoch can't be begun", extra={"error": str(exc)})
            return False
        finally:
            self._steady.set()
        self._go_on(turn)
        return True

    def _go_on(self, turn: Turned) -> None:
        self._streams.update(turn.streams)
        for name, stream in turn.streams.items():
            kept = turn.kept(name).pairs()
            self._sender.open(name, epoch=stream.epoch, kept=kept, head=stream.head)
        self._losses.take_over(turn.losses)
        self._doubt = {}
        self._rewound = turn.change.aside
        self.gate.open = True
        log.error(
            "the center knows more than this disk: it went back in time; a new epoch is begun",
            extra={"records": len(turn.change.records), "lost": len(turn.change.losses)},
        )
