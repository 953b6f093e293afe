"""What the node says of itself on the link, and what it knows of the center's time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from edge.edge_bench import eventually
from farshore_edge.presence import ClockSync, Presence
from farshore_edge.presence.clock_sync import DRIFT, ROUNDING_MS
from farshore_protocol.clock import ManualClock
from farshore_protocol.codec import decode
from farshore_protocol.link import Message
from farshore_protocol.messages import (
    Birth,
    Capabilities,
    Heartbeat,
    Queue,
    StreamHead,
    TimeAnswer,
)
from farshore_protocol.messages import Presence as PresenceMessage
from farshore_protocol.version import PROTOCOL
from hypothesis import given
from hypothesis import strategies as st


class Bench:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.sync = ClockSync()
        self.sent: list[Message] = []
        self.presence = Presence(
            node="n1",
            boot="b1",
            heartbeat_s=0.01,
            clock=self.clock,
            up_ms=lambda: int(self.clock.monotonic_s() * 1000),
            identity=lambda: {
                "agent_version": "9.9",
                "group": "eu/hamburg",
                "labels": {"line": "3"},
                "capabilities": Capabilities(verbs=("ping",)),
                "facts_digest": "sha256:x",
            },
            heads=lambda: {"events": StreamHead(epoch="e", head=7, records=2)},
            queues=lambda: {"events": Queue(records=2, bytes=100, head=7)},
            sync=self.sync,
        )

    def publish(self, message: Message) -> bool:
        self.sent.append(message)
        return True

    def of(self, kind: str) -> list[Message]:
        return [m for m in self.sent if m.topic == f"fs1/up/n1/{kind}"]

    def states(self) -> list[tuple[str, int]]:
        words = [decode(PresenceMessage, m.payload) for m in self.of("presence")]
        return [(word.state, word.conn) for word in words]

    def seen(self, state: Any, *, boot: str = "b1", conn: int = 1) -> None:
        self.presence.saw_own(PresenceMessage(state=state, boot=boot, conn=conn))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.presence.link_down()


async def test_the_will_and_the_farewell_say_offline_and_are_retained(bench: Bench) -> None:
    will = bench.presence.will(3)
    assert (will.topic, will.qos, will.retain) == ("fs1/up/n1/presence", 1, True)
    assert decode(PresenceMessage, will.payload) == PresenceMessage(
        state="offline", boot="b1", conn=3
    )
    bench.presence.link_up(3, bench)
    assert bench.presence.farewell() == will


async def test_a_connection_begins_with_presence_and_birth(bench: Bench) -> None:
    bench.presence.link_up(2, bench)
    assert [m.topic.rsplit("/", 1)[1] for m in bench.sent] == ["presence", "birth", "time"]
    assert bench.states() == [("online", 2)]
    assert (bench.sent[0].qos, bench.sent[0].retain) == (1, True)
    birth = decode(Birth, bench.sent[1].payload)
    assert (birth.protocol, birth.boot, birth.conn) == (PROTOCOL, "b1", 2)
    assert (birth.agent_version, birth.group, birth.labels) == ("9.9", "eu/hamburg", {"line": "3"})
    assert birth.capabilities.verbs == ("ping",)
    assert birth.streams == {"events": StreamHead(epoch="e", head=7, records=2)}
    assert (birth.facts_digest, birth.heartbeat_s) == ("sha256:x", 0.01)
    assert not bench.sent[1].retain


async def test_the_connection_number_is_that_of_the_link(bench: Bench) -> None:
    for conn in (1, 2, 5):
        bench.presence.link_up(conn, bench)
        bench.presence.link_down()
    assert [decode(Birth, m.payload).conn for m in bench.of("birth")] == [1, 2, 5]


async def test_heartbeats_come_while_connected_and_carry_the_queues(bench: Bench) -> None:
    beating = asyncio.create_task(bench.presence.run())
    bench.presence.link_up(1, bench)
    await eventually(lambda: len(bench.of("heartbeat")) >= 2)
    word = decode(Heartbeat, bench.of("heartbeat")[0].payload)
    assert (word.boot, word.conn, word.up_s, word.offset_ms) == ("b1", 1, 1000.0, None)
    assert word.queue == {"events": Queue(records=2, bytes=100, head=7)}
    assert bench.of("heartbeat")[0].qos == 0
    beating.cancel()


async def test_a_lost_time_request_is_made_again_with_the_next_heartbeat(bench: Bench) -> None:
    beating = asyncio.create_task(bench.presence.run())
    bench.presence.link_up(1, bench)
    await eventually(lambda: len(bench.of("time")) >= 2)
    request = orjson.loads(bench.of("time")[0].payload)
    bench.presence.time_answered(_answer(request, center_ms=bench.clock.now_ms()))
    asked = len(bench.of("time"))
    beats = len(bench.of("heartbeat"))
    await eventually(lambda: len(bench.of("heartbeat")) >= beats + 3)
    assert len(bench.of("time")) == asked, "it has its answer"
    bench.clock.advance(601)
    await eventually(lambda: len(bench.of("time")) == asked + 1)
    beating.cancel()


async def test_a_false_offline_is_repaired(bench: Bench) -> None:
    bench.presence.link_up(1, bench)
    bench.seen("online")
    assert bench.states() == [("online", 1)]
    bench.seen("offline", conn=1)
    assert bench.states()[1:] == [("online", 1)]


async def test_a_repair_is_never_forgotten_but_never_answered_at_once_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farshore_edge.presence.service.REPAIR_EVERY_S", 0.05)
    bench.presence.link_up(1, bench)
    for _ in range(20):  # another agent under the same name
        bench.seen("online", boot="other")
    assert len(bench.states()) == 2
    await eventually(lambda: len(bench.states()) == 3)


async def test_its_own_farewell_is_no_false_word(bench: Bench) -> None:
    bench.presence.link_up(1, bench)
    bench.presence.farewell()
    bench.seen("offline")
    assert bench.states() == [("online", 1)], "a repair would make the center believe it for ever"


async def test_an_answer_to_an_earlier_start_of_the_agent_is_not_taken(bench: Bench) -> None:
    now_ms = bench.clock.now_ms()
    late = TimeAnswer(boot="b0", up_ms=999_000, ts=0, received_ms=now_ms, sent_ms=now_ms)
    bench.presence.time_answered(late)
    assert not bench.sync.asked


def _answer(request: dict[str, Any], *, center_ms: int) -> TimeAnswer:
    return TimeAnswer(
        boot=request["boot"],
        up_ms=request["up_ms"],
        ts=request["ts"],
        received_ms=center_ms,
        sent_ms=center_ms,
    )


# The center's time. `up_ms` is 0 at the true time `BORN`, on a perfect clock.

BORN = 1_700_000_000_000


def _exchange(
    sync: ClockSync, at: int, there: int, back: int, *, held: int = 0, wall: int = BORN
) -> None:
    answer = TimeAnswer(
        boot="b",
        up_ms=at,
        ts=wall + at,
        received_ms=BORN + at + there,
        sent_ms=BORN + at + there + held,
    )
    arrived = at + there + held + back
    sync.answered(answer, up_ms=arrived, now_ms=wall + arrived)


_TRIP = st.integers(0, 20_000)


@given(st.lists(st.tuples(_TRIP, _TRIP, st.integers(0, 1000)), min_size=1, max_size=12))
def test_the_error_is_within_half_of_the_shortest_round_trip(
    trips: list[tuple[int, int, int]],
) -> None:
    sync, at = ClockSync(), 0
    for there, back, held in trips:
        _exchange(sync, at, there, back, held=held)
        at += 60_000
        center_ms, bound_ms = sync.center_ms(up_ms=at), sync.bound_ms(up_ms=at)
        assert center_ms is not None
        assert bound_ms is not None
        assert abs(center_ms - (BORN + at)) <= bound_ms
    best_ms = min(there + back for there, back, _ in trips)
    assert bound_ms is not None
    assert bound_ms <= best_ms / 2 + ROUNDING_MS + at * DRIFT


def test_a_worse_exchange_does_not_spoil_a_better_one() -> None:
    sync = ClockSync()
    _exchange(sync, 0, 5, 5)
    for n in range(1, 20):
        _exchange(sync, n * 1000, 0, 40)
    assert sync.center_ms(up_ms=30_000) == BORN + 30_000


def test_an_old_exchange_gives_way_because_clocks_drift() -> None:
    sync = ClockSync()
    _exchange(sync, 0, 0, 10)
    assert sync.center_ms(up_ms=0) == BORN - 5
    _exchange(sync, 3_600_000, 50, 50)
    assert sync.center_ms(up_ms=0) == BORN


def test_a_clock_that_stood_still_during_sleep_is_found_out_by_the_next_exchange() -> None:
    sync = ClockSync()
    _exchange(sync, 0, 1, 1)
    slept_ms = 3_600_000
    answer = TimeAnswer(
        boot="b",
        up_ms=1000,
        ts=0,
        received_ms=BORN + slept_ms + 1050,
        sent_ms=BORN + slept_ms + 1050,
    )
    sync.answered(answer, up_ms=1100, now_ms=BORN + slept_ms + 1100)
    assert sync.center_ms(up_ms=2000) == BORN + slept_ms + 2000


@pytest.mark.parametrize(
    ("up_ms", "received_ms", "sent_ms", "arrived_ms"),
    [
        pytest.param(100, BORN, BORN + 500, 200, id="the center held it longer than it took"),
        pytest.param(100, BORN + 500, BORN, 200, id="the center's clock was set back meanwhile"),
        pytest.param(300, BORN, BORN, 200, id="it answers a request that was not made yet"),
    ],
)
def test_an_impossible_answer_says_nothing(
    up_ms: int, received_ms: int, sent_ms: int, arrived_ms: int
) -> None:
    sync = ClockSync()
    answer = TimeAnswer(boot="b", up_ms=up_ms, ts=0, received_ms=received_ms, sent_ms=sent_ms)
    sync.answered(answer, up_ms=arrived_ms, now_ms=BORN)
    assert not sync.asked


def test_a_wall_clock_counts_as_synced_only_when_it_was_checked_and_agrees() -> None:
    sync = ClockSync()
    assert not sync.synced(up_ms=0, now_ms=BORN)
    _exchange(sync, 0, 10, 10)
    assert sync.synced(up_ms=5000, now_ms=BORN + 5000)
    wrong = ClockSync()
    _exchange(wrong, 0, 10, 10, wall=BORN - 3_600_000)
    assert not wrong.synced(up_ms=5000, now_ms=BORN - 3_600_000 + 5000)
    assert wrong.offset_ms(up_ms=5000, now_ms=BORN - 3_600_000 + 5000) == 3_600_000


def test_a_jump_of_the_wall_clock_ends_synced_until_the_next_exchange() -> None:
    sync = ClockSync()
    _exchange(sync, 0, 10, 10, wall=BORN - 1500)
    assert sync.synced(up_ms=5000, now_ms=BORN - 1500 + 5000)
    assert not sync.synced(up_ms=6000, now_ms=BORN + 6000), "jumped, though it is right now"
    _exchange(sync, 7000, 900, 900, wall=BORN)
    assert sync.synced(up_ms=9000, now_ms=BORN + 9000)
