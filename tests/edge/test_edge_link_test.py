"""``link-test`` counts what truly came back, keeps little under way, and ends whatever the center does."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from farshore_edge.commands.verbs import Context, Outcome
from farshore_edge.commands.verbs import link_test as module
from farshore_edge.commands.verbs.link_test import LinkTest
from farshore_edge.commands.verbs.link_window import (
    FIRST_BYTES,
    LEAST_BYTES,
    MOST_BYTES,
    PIECE_MOST_BYTES,
    Window,
    round_trips,
)
from farshore_protocol.codec import convert, decode, encode
from farshore_protocol.commands import VERBS, Output
from farshore_protocol.commands.catalogue import risk_of
from farshore_protocol.link import Message
from farshore_protocol.messages import Probe, ProbeAnswer
from farshore_protocol.messages.probe import PAD_MAX, padding
from hypothesis import given
from hypothesis import strategies as st

Fate = Callable[[Probe], bool | None]


async def said(_chunk: Output) -> None:
    raise AssertionError("a test of the link writes no output")


CONTEXT = Context(timeout_s=60, output_max_bytes=0, emit=said)


class Line:
    """The link and the center behind it; ``fate``: answered (True), busy (None) or lost (False)."""

    def __init__(self, fate: Fate = lambda _probe: True) -> None:
        self.connected = True
        self.takes_s = 0.001
        self.fate = fate
        self.probes: list[Probe] = []
        self.flying = self.most_flying = 0
        loop = asyncio.get_running_loop()
        self.test = LinkTest(
            self, node="n1", over="mqtt://x:1", monotonic_s=loop.time, draw=lambda: "t1"
        )

    def publish(self, message: Message) -> bool:
        if not self.connected:
            return False
        assert (message.topic, message.qos) == ("fs1/up/n1/probe", 0)
        probe = decode(Probe, message.payload)
        self.probes.append(probe)
        fate = self.fate(probe)
        size = len(message.payload) + probe.answer_bytes
        self.flying += size
        self.most_flying = max(self.most_flying, self.flying)
        asyncio.get_running_loop().call_later(self.takes_s, self._answer, probe, fate, size)
        return True

    def _answer(self, probe: Probe, fate: bool | None, size: int) -> None:
        self.flying -= size
        if fate is False:
            return
        pad = "" if fate is None else padding(probe.answer_bytes, probe.n)
        bytes_up = size - probe.answer_bytes
        answer = ProbeAnswer(test=probe.test, n=probe.n, bytes=bytes_up, busy=fate is None, pad=pad)
        self.test.answered(answer, len(encode(answer)))

    async def run(self, **args: Any) -> Outcome:
        given_args = {"count": 5, "interval_s": 0.01, **args}
        outcome = await self.test(convert(VERBS["link-test"].args, given_args), CONTEXT)
        if outcome.state == "succeeded":
            convert(VERBS["link-test"].result or dict, outcome.result)
        return outcome


def code(outcome: Outcome) -> str:
    assert outcome.error is not None, outcome
    return outcome.error.code


async def test_delay_and_both_directions_are_measured() -> None:
    line = Line()
    result = (await line.run(bytes=200_000)).result or {}
    trips, up, down = result["round_trip"], result["up"], result["down"]
    assert (trips["sent"], trips["answered"], trips["loss_percent"]) == (5, 5, 0)
    assert 1 <= trips["min_ms"] <= trips["median_ms"] <= trips["p95_ms"] <= trips["max_ms"]
    assert result["summary"].startswith(f"round trip {trips['median_ms']:.1f} ms (95 % within ")
    assert f"up {up['bytes_per_s'] / 1000:,.1f} kB/s ({up['bytes']:,} bytes)" in result["summary"]
    for way in (up, down):
        assert way["complete"]
        assert way["lost"] == 0
        assert 200_000 <= way["bytes"] <= 260_000, "the padding and its wrapping"
        assert way["bytes_per_s"] == pytest.approx(way["bytes"] / way["seconds"], rel=0.2)
    assert sum(len(probe.pad) for probe in line.probes) == 200_000
    assert sum(probe.answer_bytes for probe in line.probes) == 200_000
    assert line.most_flying <= 2 * MOST_BYTES


async def test_a_direction_alone_and_no_throughput_at_all() -> None:
    line = Line()
    only_up = (await line.run(bytes=10_000, direction="up")).result or {}
    assert only_up["down"] is None
    assert only_up["up"]["complete"]
    neither = (await line.run(bytes=0)).result or {}
    assert neither["up"] is neither["down"] is None


async def test_what_is_lost_is_counted_and_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    line = Line(lambda probe: probe.n % 5 != 0)
    result = (await line.run(count=10, bytes=60_000, direction="up")).result or {}
    assert result["round_trip"]["loss_percent"] == 20.0
    up = result["up"]
    assert up["lost"] >= 1
    assert not up["complete"]
    assert up["bytes"] < 80_000


async def test_the_time_is_over_before_all_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    line = Line()
    line.takes_s = 0.05
    outcome = await line.run(bytes=16 * 1024 * 1024, direction="down", seconds=0.5)
    down = (outcome.result or {})["down"]
    assert not down["complete"]
    assert 0 < down["seconds"] < 5
    assert down["bytes"] > 0


@pytest.mark.parametrize(
    ("fate", "expected"),
    [(lambda _probe: False, "no_answer"), (lambda p: None if p.pad else True, "busy")],
)
async def test_a_center_that_says_nothing_or_will_not(
    monkeypatch: pytest.MonkeyPatch, fate: Fate, expected: str
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.1)
    outcome = await Line(fate).run()
    assert code(outcome) == expected
    assert (outcome.result or {})["round_trip"]["sent"] == 5, "what is known is told all the same"


async def test_without_a_connection_and_when_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line()
    line.connected = False
    assert code(await line.run()) == "offline"
    line.connected = True

    def cut(probe: Probe) -> bool:
        line.connected = not probe.pad
        return True

    line.fate = cut
    outcome = await line.run(bytes=100_000)
    assert code(outcome) == "offline"
    assert (outcome.result or {})["round_trip"]["answered"] == 5


async def test_one_at_a_time_and_cancelled_nothing_is_left() -> None:
    line = Line(lambda _probe: False)
    first = asyncio.create_task(line.run())
    await asyncio.sleep(0)
    assert code(await line.run()) == "busy"
    first.cancel()
    await asyncio.wait([first])
    line.fate = lambda _probe: True
    assert (await line.run(bytes=0)).state == "succeeded"
    late = ProbeAnswer(test="t0", n=1, bytes=1)
    line.test.answered(late, 1)  # of a test that is over


def test_only_a_small_one_may_be_asked_for_by_anyone() -> None:
    verb = VERBS["link-test"]
    assert risk_of(verb, convert(verb.args, {})) == "read"
    assert risk_of(verb, convert(verb.args, {"bytes": 4_000_000})) == "change"


@given(st.lists(st.tuples(st.integers(1, PIECE_MOST_BYTES), st.floats(0.001, 30)), max_size=200))
def test_the_window_stays_within_its_bounds(answers: list[tuple[int, float]]) -> None:
    window = Window()
    assert window.bytes == FIRST_BYTES
    for size, took_s in answers:
        window.answered(size, took_s)
        assert LEAST_BYTES <= window.bytes <= MOST_BYTES
        assert LEAST_BYTES <= window.piece <= PIECE_MOST_BYTES


@pytest.mark.parametrize("rate", [2_000, 20_000, 200_000])
def test_on_a_slow_link_its_own_queue_stays_short(rate: int) -> None:
    """A link as a queue that is emptied at a steady rate: how long would a record wait in it?"""
    window, now_s, free_s, flying = Window(), 0.0, 0.0, 0
    arrivals: list[tuple[float, int, float]] = []
    waits = []
    for _ in range(400):
        while flying + window.piece <= window.bytes or not arrivals:
            piece = window.piece
            free_s = max(free_s, now_s) + piece / rate
            arrivals.append((free_s + 0.05, piece, now_s))
            flying += piece
        waits.append(free_s - now_s)
        now_s, piece, sent_s = arrivals.pop(0)
        flying -= piece
        window.answered(piece, now_s - sent_s)
    settled = waits[len(waits) // 4 :]
    assert max(settled) < 2.5
    assert sorted(settled)[len(settled) // 2] < 1.5


@given(st.lists(st.floats(0.0001, 100), max_size=100), st.integers(0, 20))
def test_round_trips_add_up(took_s: list[float], lost: int) -> None:
    sent = len(took_s) + lost
    trips = round_trips(sent, took_s)
    assert trips.answered == len(took_s)
    assert 0 <= trips.loss_percent <= 100
    if took_s:
        assert trips.min_ms is not None
        assert trips.min_ms <= (trips.median_ms or 0) <= (trips.max_ms or 0)
        assert (trips.median_ms or 0) <= (trips.p95_ms or 0) + 0.001 or len(took_s) < 3


def test_padding_is_as_long_as_asked_and_different_each_time() -> None:
    rng = random.Random(1)
    for n in range(200):
        size = rng.randrange(PAD_MAX + 1)
        assert len(padding(size, n)) == size
    assert len({padding(64, n) for n in range(1000)}) > 900
