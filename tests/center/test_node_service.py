"""Presence as it is lived: births, silence and revival under a clock that is turned by hand."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from farshore_center.events import EventLog
from farshore_center.ingest.intake import Intake
from farshore_center.nodes.service import NodeService
from farshore_protocol.clock import ManualClock
from farshore_protocol.codec import encode
from farshore_protocol.link import Message
from farshore_protocol.messages import (
    Birth,
    CenterMark,
    Heartbeat,
    Presence,
    Queue,
    TimeRequest,
)


class Desk:
    def __init__(self, path: Path) -> None:
        self.clock = ManualClock()
        self.sent: list[Message] = []
        self.database = Database(f"sqlite:///{path}")
        self.events = EventLog(self.database, self.clock.now_ms)
        self.service = self.new_service()

    def new_service(self) -> NodeService:
        return NodeService(
            self.database,
            self.events,
            self,
            now_ms=self.clock.now_ms,
            now_s=self.clock.monotonic_s,
        )

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def born(self, name: str, *, conn: int = 1, boot: str = "b", **more: Any) -> None:
        birth = Birth(
            protocol=1,
            agent_version="1",
            boot=boot,
            conn=conn,
            up_ms=1,
            ts=1,
            heartbeat_s=10,
            **more,
        )
        await self.service.born(name, birth)

    async def kinds(self) -> list[str]:
        return [event.kind for event in await self.events.list()]

    def online(self) -> set[str]:
        return set(self.service.registry.online())


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path / "center.db")
    await desk.database.start()
    yield desk
    await desk.database.stop()


def beat(conn: int = 1, **more: Any) -> Heartbeat:
    return Heartbeat(boot="b", conn=conn, up_s=1, **more)


async def test_born_silent_revived(desk: Desk) -> None:
    await desk.born("pi-1")
    desk.clock.advance(29)
    await desk.service.look()
    assert desk.online() == {"pi-1"}
    desk.clock.advance(1)
    await desk.service.look()
    assert desk.online() == set()
    await desk.service.beat("pi-1", beat())
    assert desk.online() == {"pi-1"}
    assert await desk.kinds() == [
        "node.registered",
        "node.birth",
        "node.online",
        "node.offline",
        "node.online",
    ]


async def test_any_message_counts_as_a_word(desk: Desk) -> None:
    await desk.born("pi-1")
    desk.clock.advance(29)
    desk.service.heard("pi-1")
    desk.clock.advance(29)
    await desk.service.look()
    assert desk.online() == {"pi-1"}


async def test_a_late_will_changes_nothing(desk: Desk) -> None:
    await desk.born("pi-1", conn=1)
    await desk.born("pi-1", conn=2)
    await desk.service.said("pi-1", Presence(state="offline", boot="b", conn=1))
    assert desk.online() == {"pi-1"}
    await desk.service.said("pi-1", Presence(state="offline", boot="b", conn=2))
    assert desk.online() == set()


async def test_the_death_of_a_connection_that_began_unheard_is_believed(desk: Desk) -> None:
    """The center was away from its broker while the node came again and left."""
    await desk.born("pi-1", conn=1)
    await desk.service.said("pi-1", Presence(state="offline", boot="b", conn=2))
    assert desk.online() == set()
    await desk.service.beat("pi-1", beat(1))
    assert desk.online() == set(), "a late word of the connection before"
    await desk.service.beat("pi-1", beat(3))
    assert desk.online() == {"pi-1"}


@pytest.mark.parametrize(("boot", "conn"), [("a", 9), ("b", 1)])
async def test_a_late_will_is_no_sign_of_life(desk: Desk, boot: str, conn: int) -> None:
    async def judged(_node: str, _mark: CenterMark | None) -> bool:
        return False

    unused = cast(Any, None)
    intake = Intake(desk.service, unused, unused, unused, judged)
    await desk.born("pi-1", conn=2)
    entry = desk.service.registry.get("pi-1")
    assert entry is not None
    seen_ms = entry.last_seen_ms
    desk.clock.advance(29)
    will = encode(Presence(state="offline", boot=boot, conn=conn))
    await intake.take("fs1/up/pi-1/presence", will, None)
    assert (desk.online(), entry.last_seen_ms) == ({"pi-1"}, seen_ms)
    desk.clock.advance(1)
    await desk.service.look()
    assert desk.online() == set()


async def test_its_own_online_counts_as_seen(desk: Desk) -> None:
    await desk.born("pi-1", conn=1)
    desk.clock.advance(29)
    await desk.service.said("pi-1", Presence(state="online", boot="b", conn=1))
    entry = desk.service.registry.get("pi-1")
    assert entry is not None
    assert entry.last_seen_ms == desk.clock.now_ms()
    desk.clock.advance(29)
    await desk.service.look()
    assert desk.online() == {"pi-1"}


async def test_a_late_heartbeat_does_not_bring_back_an_old_queue(desk: Desk) -> None:
    await desk.born("pi-1", conn=2)
    await desk.service.beat("pi-1", beat(2, queue={"metrics": Queue(records=1, bytes=1)}))
    await desk.service.beat("pi-1", beat(1, queue={"metrics": Queue(records=99, bytes=1)}))
    entry = desk.service.registry.get("pi-1")
    assert entry is not None
    assert entry.queue["metrics"]["records"] == 1


async def test_who_fell_silent_together_is_written_together(desk: Desk) -> None:
    """A link that a thousand nodes share is cut: that is one transaction."""
    for i in range(50):
        await desk.born(f"pi-{i}")
    before = desk.database.stats().transactions
    desk.clock.advance(60)
    await desk.service.look()
    assert desk.online() == set()
    assert desk.database.stats().transactions == before + 1
    assert (await desk.kinds()).count("node.offline") == 50


async def test_a_thousand_births_share_commits(desk: Desk) -> None:
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for i in range(1000):
            group.create_task(desk.born(f"pi-{i}"))
    assert len(desk.online()) == 1000
    assert desk.database.stats().transactions < 100


async def test_what_people_decided_outlives_births_and_restarts(desk: Desk) -> None:
    await desk.born("pi-1", group="eu", labels={"a": "1"})
    entry = desk.service.registry.get("pi-1")
    assert entry is not None
    entry.group, entry.group_by = "us", "person"
    await desk.service.write(entry, [])
    again = desk.new_service()
    await again.start()
    desk.service = again
    assert desk.online() == set(), "a center that starts has heard nobody yet"
    await desk.born("pi-1", boot="c", group="eu", labels={"a": "2"})
    found = again.registry.get("pi-1")
    assert found is not None
    assert (found.group, found.labels) == ("us", {"a": "2"})


async def test_events_that_could_not_be_written_are_written_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_work: Any) -> Any:
        raise DatabaseError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(desk.database, "write", broken)
        await desk.born("pi-1")
        assert desk.service.failing
    await desk.service.stop()
    assert await desk.kinds() == ["node.registered", "node.birth", "node.online"]
    assert not desk.service.failing


async def test_a_time_request_is_answered_with_its_own_times(desk: Desk) -> None:
    await desk.service.asked_time("pi-1", TimeRequest(boot="b", up_ms=7, ts=9))
    (message,) = desk.sent
    assert message.topic == "fs1/down/pi-1/time"
    assert b'"up_ms":7' in message.payload
    assert str(desk.clock.now_ms()).encode() in message.payload
