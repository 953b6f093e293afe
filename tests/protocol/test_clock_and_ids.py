"""Clock and ids as parameters."""

import random
import time

import pytest
from farshore_protocol.clock import ManualClock, SystemClock
from farshore_protocol.ids import Ids, system_rng
from farshore_protocol.names import is_name
from hypothesis import given
from hypothesis import strategies as st

MILLIS = st.integers(0, 32**10 - 1)


@given(st.lists(st.floats(0, 1e6), max_size=20))
def test_both_clocks_advance_together(steps: list[float]) -> None:
    clock = ManualClock(now_ms=0, monotonic_s=0)
    for step in steps:
        before = clock.monotonic_s()
        clock.advance(step)
        assert clock.monotonic_s() >= before
    assert clock.now_ms() == pytest.approx(clock.monotonic_s() * 1000, abs=1)


def test_the_wall_clock_jumps_alone_and_time_never_goes_back() -> None:
    clock = ManualClock()
    before = clock.monotonic_s()
    clock.set_wall(5)
    assert (clock.now_ms(), clock.monotonic_s()) == (5, before)
    with pytest.raises(ValueError, match="set_wall"):
        clock.advance(-1)
    assert clock.monotonic_s() == before


def test_the_system_clock_is_the_machine_s() -> None:
    clock = SystemClock()
    assert abs(clock.now_ms() - time.time() * 1000) < 5000
    assert clock.monotonic_s() <= clock.monotonic_s()


@given(st.integers(), MILLIS, MILLIS)
def test_ids_are_names_and_commands_sort_by_time(seed: int, one: int, two: int) -> None:
    ids = Ids(random.Random(seed))
    first, second = ids.command(min(one, two)), ids.command(max(one, two))
    assert all(is_name(each) for each in (first, second, ids.boot(), ids.epoch()))
    assert (len(first), len(ids.boot()), len(ids.epoch())) == (26, 8, 16)
    if one != two:
        assert first < second


def test_ids_differ_and_are_replayed_by_the_seed() -> None:
    made = [Ids(random.Random(1)).command(5) for _ in range(2)]
    assert made[0] == made[1]
    ids = Ids(system_rng())
    assert len({ids.command(5) for _ in range(1000)}) == 1000
