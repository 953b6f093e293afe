"""The link's rates: few bytes over a slow one, more over a quick one, never more than allowed."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from farshore_edge.commands.verbs import Outcome
from farshore_edge.link import measuring
from farshore_edge.link.measuring import LinkMeasuring
from farshore_edge.link.rates import ENOUGH_S, FIRST_BYTES, joined, measured, next_bytes, rate_of
from farshore_protocol.commands import CommandError
from farshore_protocol.commands.catalogue import LinkTestArgs
from farshore_protocol.commands.catalogue.network import LinkTestResult, RoundTrips, Throughput
from farshore_protocol.messages import LinkMeasured
from hypothesis import given
from hypothesis import strategies as st

TRIP_S = 0.04
MB = 1_000_000


def flow(size: int, seconds: float, *, complete: bool = True) -> Throughput:
    rate = size / seconds
    return Throughput(
        bytes=size, messages=4, lost=0, seconds=seconds, bytes_per_s=rate, complete=complete
    )


class Road:
    """A link of these rates, and a node that measures it; ``fails``: so many tests at first."""

    def __init__(self, up: float, down: float, *, most: int = MB, every_s: float = 0.0) -> None:
        self.rates = {"up": up, "down": down}
        self.moved = {"up": 0, "down": 0}
        self.told: list[dict[str, Any]] = []
        self.fails = self.tests = 0
        self.quiet = True
        self.heard = asyncio.Event()
        self.measuring = LinkMeasuring(
            self.test,
            self.tell,
            every_s=every_s,
            most_bytes=most,
            spread=lambda: 0.5,
            idle=lambda: self.quiet,
        )

    async def test(self, args: LinkTestArgs) -> Outcome:
        self.tests += 1
        if self.tests <= self.fails:
            return Outcome(state="failed", error=CommandError(code="busy", message="not now"))
        way = args.direction
        self.moved[way] += args.bytes
        done = flow(args.bytes, TRIP_S + args.bytes / self.rates[way])
        self.measuring.found(result(**{way: done}))
        return Outcome(result={})

    async def tell(self, stream: str, topic: str, body: dict[str, Any]) -> int:
        assert (stream, topic) == ("events", "evt/link")
        self.told.append(body["data"])
        self.heard.set()
        return len(self.told)


def result(**moved: Throughput) -> LinkTestResult:
    trips = RoundTrips(sent=3, answered=3, loss_percent=0.0, min_ms=TRIP_S * 1000)
    return LinkTestResult(over="x", summary="", round_trip=trips, **moved)


async def test_a_slow_link_is_measured_with_few_bytes_and_a_quick_one_with_more() -> None:
    slow = Road(2_000, 4_000)
    assert await slow.measuring.measure()
    assert slow.moved == {"up": FIRST_BYTES, "down": FIRST_BYTES}
    (told,) = slow.told
    assert told["up_bytes_s"] == pytest.approx(2_000, rel=0.02)
    assert told["down_bytes_s"] == pytest.approx(4_000, rel=0.02)
    assert told["round_trip_s"] == pytest.approx(TRIP_S)

    quick = Road(400_000, 5 * MB)
    assert await quick.measuring.measure()
    assert quick.told[0]["up_bytes_s"] == pytest.approx(400_000, rel=0.02)
    assert FIRST_BYTES < quick.moved["up"] < quick.moved["down"] <= MB


@given(st.floats(100, 1e9), st.integers(4096, 4 * MB))
def test_never_more_bytes_than_are_allowed(rate: float, most: int) -> None:
    spent, done = 0, None
    for _ in range(50):
        size = next_bytes(done, spent, most)
        if not size:
            break
        spent += size
        done = flow(size, TRIP_S + size / rate)
    assert size == 0, "it comes to its end"
    assert 0 < spent <= most
    assert done is not None
    enough = done.seconds >= ENOUGH_S
    assert enough or most - spent < 4096, "only what is told by enough, or all that is allowed"


def test_what_says_nothing_of_a_rate_gives_none() -> None:
    assert rate_of(None, TRIP_S) is None
    assert rate_of(flow(1000, 1.0), TRIP_S) is None
    assert (
        measured(
            LinkTestResult(
                over="x", summary="", round_trip=RoundTrips(sent=3, answered=0, loss_percent=100)
            )
        )
        is None
    )
    trips = measured(result())
    assert trips == LinkMeasured(round_trip_s=TRIP_S)


def test_a_later_word_leaves_what_it_does_not_say() -> None:
    first = LinkMeasured(up_bytes_s=1.0, down_bytes_s=2.0, round_trip_s=0.1)
    assert joined(None, first) == first
    later = joined(first, LinkMeasured(down_bytes_s=3.0, round_trip_s=0.2))
    assert later == LinkMeasured(up_bytes_s=1.0, down_bytes_s=3.0, round_trip_s=0.1)


async def test_what_a_person_asked_for_is_told_as_well() -> None:
    road = Road(MB, MB)
    road.measuring.found(result(up=flow(MB, 2.0)))
    await asyncio.wait_for(road.heard.wait(), 30)
    (told,) = road.told
    assert set(told) == {"up_bytes_s", "round_trip_s"}, "of the way down it found out nothing"


async def test_it_measures_by_itself_when_nothing_waits_and_again_after_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measuring, "FIRST_S", 0.01)
    monkeypatch.setattr(measuring, "AGAIN_S", 0.01)
    road = Road(MB, MB, every_s=3600)
    road.fails, road.quiet = 2, False
    running = asyncio.create_task(road.measuring.run())
    try:
        await asyncio.sleep(0.1)  # ten times the wait
        assert road.tests == 0, "a backlog has the link"
        road.quiet = True
        await asyncio.wait_for(road.heard.wait(), 30)
    finally:
        running.cancel()
    assert road.tests > 2
    assert len(road.told) == 1
    assert road.measuring.word is not None


async def test_it_never_measures_by_itself_where_that_is_not_wanted() -> None:
    road = Road(MB, MB, every_s=0)
    await asyncio.wait_for(road.measuring.run(), 30)
    assert road.tests == 0


def test_of_a_long_flow_the_second_half_counts() -> None:
    slow_start = replace(flow(MB, 2.0), late_bytes_per_s=MB)
    assert rate_of(slow_start, TRIP_S) == MB
    short = replace(flow(10_000, 0.05), late_bytes_per_s=5.0)
    assert rate_of(short, 0.01) == pytest.approx(250_000)
