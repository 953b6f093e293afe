"""The commands room on a real database, with nodes and a downlink that the test plays itself."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

from farshore_center.commands import CommandService, CommandSettings, NewCommand, NodeChoice
from farshore_center.commands.engine import Target
from farshore_center.commands.model import commands, outputs, targets
from farshore_center.commands.views import CommandView
from farshore_center.db.database import Database
from farshore_center.events import EventFilter, EventLog
from farshore_center.events.model import events
from farshore_protocol.clock import ManualClock
from farshore_protocol.codec import decode
from farshore_protocol.commands import Command, CommandError, CommandReport, Output
from farshore_protocol.ids import Ids
from farshore_protocol.link import Message
from farshore_protocol.topics import Down, parse
from sqlalchemy import Connection

DEADLINE_S = 45.0


class PlayedDownlink:
    """Remembers what is sent; `failure`, when set, is raised instead."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, Command]] = []
        self.failure: BaseException | None = None
        self.attempts = 0
        self.before_send: Callable[[], None] = lambda: None
        self._changed = asyncio.Condition()

    async def send(self, message: Message) -> None:
        self.before_send()
        self.attempts += 1
        try:
            if self.failure is not None:
                raise self.failure
            topic = parse(message.topic)
            assert isinstance(topic, Down)
            assert topic.kind == "cmd"
            assert message.qos == 1
            self.sent.append((topic.node, topic.name or "", decode(Command, message.payload)))
        finally:
            async with self._changed:
                self._changed.notify_all()

    async def until(self, condition: Callable[["PlayedDownlink"], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S), self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def until_sent(self, count: int) -> None:
        await self.until(lambda downlink: len(downlink.sent) >= count)

    def nodes(self) -> list[str]:
        return [node for node, _, _ in self.sent]


def create_tables(conn: Connection) -> None:
    for table in (events, commands, targets, outputs):
        table.create(conn, checkfirst=True)


class Stage:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = ManualClock()
        self.downlink = PlayedDownlink()
        self.online: set[str] = set()
        self.announced: dict[str, set[str]] = {}
        self.events = EventLog(database, self.clock.now_ms)
        self.rng = random.Random(7)
        self.service = self._service()

    def _service(self) -> CommandService:
        return CommandService(
            self.database,
            self.events,
            self.downlink,
            lambda: self.online,
            now_ms=self.clock.now_ms,
            ids=Ids(self.rng),
            settings=CommandSettings(send_timeout_s=0.2),
            announced=self,
        )

    def verbs_of(self, node: str) -> frozenset[str] | None:
        return frozenset(self.announced[node]) if node in self.announced else None

    def everywhere(self) -> frozenset[str]:
        return frozenset().union(*self.announced.values())

    def restart(self) -> None:
        """The center after a crash: nothing is left but the database."""
        self.downlink = PlayedDownlink()
        self.events = EventLog(self.database, self.clock.now_ms)
        self.service = self._service()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.service.run())
        try:
            yield
            assert not task.done(), "the loop has ended"
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def create(self, *nodes: str, key: str | None = None, **more: Any) -> CommandView:
        choice = NodeChoice(nodes=nodes)
        request = NewCommand(choice=choice, nodes=nodes, **{"verb": "ping"} | more)
        return await self.service.create(request, key)

    def advance(self, seconds: float) -> None:
        """Time passes, and the loop looks at its clock."""
        self.clock.advance(seconds)
        self.service.node_arrived("a node without commands")

    async def report(self, *pairs: tuple[str, CommandReport]) -> None:
        """What ingest does: record, append, announce."""

        def work(conn: Connection) -> Any:
            drafts = self.service.record_many(conn, pairs)
            return self.events.append(conn, drafts)

        self.events.announce(await self.database.write(work))

    async def until_state(self, command_id: str, state: str) -> None:
        """Until every target of the command is in this state."""
        wanted = EventFilter(command=command_id)
        with self.events.subscribe(wanted) as subscription:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    subscription.rearm()
                    if set((await self.service.get(command_id)).summary) == {state}:
                        return
                    await subscription.news(DEADLINE_S)

    async def until_idle(self) -> None:
        """Until the loop has done all that was due before this call."""
        rounds = self.service.stats()["rounds"]
        marker = await self.create("no node that is ever online", ttl_s=0.001)
        self.clock.advance(0.001)
        self.service.node_arrived("")
        await self.until_state(marker.id, "expired")
        assert self.service.stats()["rounds"] > rounds

    async def target(self, command_id: str, node: str) -> Target:
        view = await self.service.get(command_id)
        return next(t.target for t in view.targets or () if t.target.node == node)


def report(command_id: str, state: Any, seq: int = 1, **more: Any) -> CommandReport:
    defaults: dict[str, Any] = {
        "epoch": "e1",
        "boot": "b1",
        "up_ms": seq,
        "ts": 1_700_000_000_000 + seq,
        "verb": "ping",
        "at": 1_700_000_000_000 + seq,
    }
    return CommandReport(id=command_id, state=state, seq=seq, **defaults | more)


__all__ = ["CommandError", "Output", "PlayedDownlink", "Stage", "create_tables", "report"]
