"""Promises of the stream, over a real server: subscribed at once, each event once, resume, end."""

import asyncio
import time
from typing import Any

import httpx
import pytest
from center_events.conftest import Happen
from center_events.serving import Server, Stream, streaming
from farshore_center.events import Draft, EventLog, event_routes
from farshore_center.events.service import Subscription
from farshore_center.events.stream import HEARTBEAT_S
from fastapi import FastAPI


def drafts(first: int, last: int, **more: Any) -> list[Draft]:
    return [Draft(kind="k", data={"n": n}, **more) for n in range(first, last + 1)]


async def numbers(stream: Stream, count: int) -> list[int]:
    return [(await stream.event())["data"]["n"] for _ in range(count)]


async def test_after_the_first_comment_nothing_is_missed(server: Server, happen: Happen) -> None:
    await happen(*drafts(1, 3))
    async with streaming(server.url) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert await stream.comment() == "subscribed"
        await happen(Draft(kind="command.target", node="pi-17", command="c1", data={"n": 4}))
        event = await stream.event()
        assert event == {
            "id": 4,
            "at": "2025-11-22T16:47:00.123Z",
            "kind": "command.target",
            "node": "pi-17",
            "command": "c1",
            "job": None,
            "data": {"n": 4},
        }


@pytest.mark.parametrize("by_header", [True, False], ids=["by Last-Event-ID", "by ?after="])
async def test_resume_gives_every_event_once_in_order(
    server: Server, happen: Happen, by_header: bool
) -> None:
    await happen(*drafts(1, 350))
    place: dict[str, Any] = {"last_event_id": 40} if by_header else {"params": {"after": 40}}
    async with streaming(server.url, **place) as stream:
        assert await numbers(stream, 310) == list(range(41, 351))
        await happen(*drafts(351, 352))
        assert await numbers(stream, 2) == [351, 352]


async def test_the_header_is_newer_than_the_address(server: Server, happen: Happen) -> None:
    await happen(*drafts(1, 9))
    async with streaming(server.url, {"after": 2}, last_event_id=7) as stream:
        assert await numbers(stream, 2) == [8, 9]


async def test_announcements_in_any_order_change_nothing(
    server: Server, happen: Happen, log: EventLog
) -> None:
    async with streaming(server.url) as stream:
        await stream.comment()
        first, second = await asyncio.gather(happen(*drafts(1, 5)), happen(*drafts(6, 9)))
        log.announce(second)
        log.announce(first)
        await happen(*drafts(10, 10))
        got = [await stream.event() for _ in range(10)]
        assert [event["id"] for event in got] == list(range(1, 11))


async def test_a_filter_applies_to_what_was_and_to_what_comes(
    server: Server, happen: Happen
) -> None:
    await happen(*drafts(1, 5, node="pi-1"), *drafts(6, 8, node="pi-2"))
    async with streaming(server.url, {"node": "pi-2", "after": 0}) as stream:
        await happen(*drafts(9, 200, node="pi-1"), *drafts(201, 201, node="pi-2"))
        assert await numbers(stream, 4) == [6, 7, 8, 201]


async def test_a_silent_stream_has_a_heartbeat(server: Server, happen: Happen) -> None:
    async with streaming(server.url) as stream:
        assert await stream.comment() == "subscribed"
        assert await stream.comment() == "still here"
        await happen(*drafts(1, 1))
        assert await numbers(stream, 1) == [1]
        assert await stream.comment() == "still here"


async def test_an_event_nobody_announced_comes_with_the_heartbeat(
    server: Server, database: Any, log: EventLog
) -> None:
    async with streaming(server.url) as stream:
        await stream.comment()
        await database.write(lambda conn: log.append(conn, drafts(1, 1)))
        assert await numbers(stream, 1) == [1]


async def test_who_was_away_too_long_is_told_what_is_missing(
    server: Server, happen: Happen
) -> None:
    for _ in range(10):
        await happen(*drafts(1, 200))
    async with streaming(server.url, last_event_id=5) as stream:
        assert "no longer kept" in await stream.comment()


async def test_an_id_of_an_earlier_database_begins_at_the_start(
    server: Server, happen: Happen
) -> None:
    await happen(*drafts(1, 2))
    async with streaming(server.url, last_event_id=90_000) as stream:
        assert "another log" in await stream.comment()
        assert await numbers(stream, 2) == [1, 2]


async def test_a_stopping_server_ends_its_streams_at_once(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = asyncio.Event()
    news = Subscription.news

    async def noted(subscription: Subscription, timeout_s: float) -> bool:
        waiting.set()
        return await news(subscription, timeout_s)

    monkeypatch.setattr(Subscription, "news", noted)
    app = FastAPI()
    app.include_router(event_routes(log))
    server = Server(app)
    await server.start()
    async with streaming(server.url) as stream:
        await asyncio.wait_for(waiting.wait(), 5)
        began = time.monotonic()
        log.close()
        await stream.ended()
        await server.stop()
        assert time.monotonic() - began < HEARTBEAT_S / 3


async def test_a_client_that_leaves_is_forgotten(server: Server, log: EventLog) -> None:
    async with streaming(server.url) as stream:
        await stream.comment()
        assert log.subscribers == 1
    # Without an end of the log: the server stops when its last response is over.
    await server.stop()
    assert log.subscribers == 0


async def test_a_slow_client_is_not_read_ahead_for(
    server: Server, happen: Happen, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(40):
        await happen(*[Draft(kind="k", data={"text": "x" * 100_000})] * 10)
    pages: list[int] = []
    page = log.page

    async def counting(wanted: Any, after: int, limit: int) -> Any:
        pages.append(after)
        return await page(wanted, after, limit)

    monkeypatch.setattr(log, "page", counting)
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(
        b"GET /api/v1/events?after=0 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
    )
    await reader.readline()
    # The heartbeats of a stream that moves: read ahead for, all four pages would be read by then.
    async with streaming(server.url) as other:
        for _ in range(3):
            await other.comment()
    assert len([after for after in pages if after < 400]) <= 2
    writer.close()


async def test_json_gives_the_latest(server: Server, happen: Happen) -> None:
    await happen(*drafts(1, 7))
    async with httpx.AsyncClient(base_url=server.url) as client:
        answer = (await client.get("/api/v1/events", params={"limit": 3})).json()
        assert [item["data"]["n"] for item in answer["items"]] == [5, 6, 7]
        assert answer["next"] is None
        answer = (await client.get("/api/v1/events", params={"after": 2, "limit": 3})).json()
        assert [item["data"]["n"] for item in answer["items"]] == [3, 4, 5]


@pytest.mark.parametrize(
    ("params", "headers", "field"),
    [
        pytest.param({"limit": 0}, {}, "limit", id="no events at all"),
        pytest.param({"limit": 5000}, {}, "limit", id="too many events"),
        pytest.param({"kind": "com*mand"}, {}, "kind", id="a glob in the middle"),
        pytest.param({"after": "yesterday"}, {}, "after", id="an id that is no number"),
        pytest.param({"after": 2**70}, {}, "after", id="an id beyond 64 bits"),
        pytest.param(
            {},
            {"Last-Event-ID": "-3", "Accept": "text/event-stream"},
            "Last-Event-ID",
            id="a negative id",
        ),
    ],
)
async def test_a_bad_question_names_its_field(
    server: Server, params: dict[str, Any], headers: dict[str, str], field: str
) -> None:
    async with httpx.AsyncClient(base_url=server.url) as client:
        answer = await client.get("/api/v1/events", params=params, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
