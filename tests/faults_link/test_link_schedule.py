"""What faults mean for bytes, and the words for them: pure, over any seed."""

import itertools
import random

import pytest
from farshore_sim.faults.errors import FaultError
from farshore_sim.faults.link_faults import (
    Delay,
    Direction,
    Fate,
    HalfOpen,
    LinkFault,
    Schedule,
    Shape,
    Stall,
    Tear,
    Throttle,
    TornCut,
)
from farshore_sim.faults.link_words import Act, Put, Take, read, shown
from hypothesis import given
from hypothesis import strategies as st

seeds = st.integers(0, 2**32)
sizes = st.lists(st.integers(1, 5_000), min_size=1, max_size=20)


def sent(shape: Shape, sizes: list[int], seed: int) -> tuple[list[tuple[float, int]], bool]:
    """When how many bytes go, if these arrive one after another, and whether a reset came."""
    schedule, now_s, steps = Schedule(random.Random(seed)), 100.0, []
    for size in sizes:
        left = size
        while left:
            step = schedule.step(shape, left, now_s)
            if step.fate is Fate.WAIT:
                assert step.wait_s is not None
                assert step.wait_s > 0, "a wait of nothing would spin"
                now_s += step.wait_s
                continue
            steps.append((now_s, step.size))
            if step.fate is Fate.RESET:
                return steps, True
            shape = shape.sent(step.size)
            left -= step.size
    return steps, False


@given(seeds, sizes, st.floats(10, 1e6), st.integers(1, 4_000))
def test_a_throttle_never_lets_more_through_than_its_bucket(
    seed: int, sizes: list[int], rate: float, burst: int
) -> None:
    shape = Shape().put(Throttle(bytes_per_s=rate, burst_bytes=burst))
    steps, _ = sent(shape, sizes, seed)
    passed = 0
    for at_s, size in steps:
        passed += size
        assert passed <= burst + (at_s - 100.0) * rate + 0.01
    assert passed == sum(sizes)
    ideal_s = max(0, sum(sizes) - burst) / rate
    assert steps[-1][0] - 100.0 <= ideal_s + 0.01 * len(steps), "and wastes nothing"


@given(seeds, st.lists(st.floats(0, 1), max_size=50), st.floats(0, 2), st.floats(0, 3))
def test_a_delay_keeps_its_bounds_and_the_order(
    seed: int, gaps: list[float], fixed_s: float, jitter_s: float
) -> None:
    schedule, now_s, last_s = Schedule(random.Random(seed)), 0.0, float("-inf")
    shape = Shape().put(Delay(fixed_s=fixed_s, jitter_s=jitter_s))
    for gap in gaps:
        now_s += gap
        due_s = schedule.due_s(shape, now_s)
        assert due_s >= last_s
        assert due_s - now_s <= fixed_s + jitter_s + 1e-9
        assert due_s - now_s >= fixed_s - jitter_s - 1e-9
        last_s = due_s


@given(seeds, sizes)
def test_what_was_delayed_stays_before_what_comes_after_the_delay(
    seed: int, sizes: list[int]
) -> None:
    schedule = Schedule(random.Random(seed))
    late_s = schedule.due_s(Shape().put(Delay(fixed_s=5, jitter_s=1)), 0.0)
    assert schedule.due_s(Shape(), 0.1) >= late_s


@given(seeds, st.lists(st.integers(1, 300), min_size=1, max_size=5), st.integers(1, 20))
def test_tearing_gives_small_segments_with_pauses_and_every_byte(
    seed: int, sizes: list[int], most: int
) -> None:
    steps, _ = sent(Shape().put(Tear(most_bytes=most, pause_s=0.01)), sizes, seed)
    assert sum(size for _, size in steps) == sum(sizes)
    assert all(1 <= size <= most for _, size in steps)
    times = [at_s for at_s, _ in steps]
    assert all(b - a >= 0.0099 for a, b in itertools.pairwise(times))


@given(seeds, sizes, st.integers(0, 20_000), st.booleans())
def test_a_torn_cut_comes_after_exactly_so_many_bytes(
    seed: int, sizes: list[int], after: int, slow: bool
) -> None:
    shape = Shape().put(TornCut(after_bytes=after))
    if slow:
        shape = shape.put(Throttle(bytes_per_s=1000)).put(Tear(most_bytes=50))
    steps, reset = sent(shape, sizes, seed)
    assert reset == (after <= sum(sizes))
    assert sum(size for _, size in steps) == min(after, sum(sizes))


def test_half_open_swallows_even_what_is_stalled_and_a_stall_waits_for_word() -> None:
    schedule = Schedule(random.Random(1))
    stalled = Shape().put(Stall())
    assert schedule.step(stalled, 10, 0.0).fate is Fate.WAIT
    assert schedule.step(stalled, 10, 0.0).wait_s is None
    step = schedule.step(stalled.put(HalfOpen()), 10, 0.0)
    assert (step.fate, step.size) == (Fate.SWALLOW, 10)
    assert stalled.put(HalfOpen()).without(HalfOpen) == stalled


@given(seeds, sizes)
def test_the_same_seed_tears_alike(seed: int, sizes: list[int]) -> None:
    shape = Shape().put(Tear(most_bytes=200))
    assert sent(shape, sizes, seed) == sent(shape, sizes, seed)


FAULTS: tuple[LinkFault, ...] = (
    HalfOpen(),
    Stall(),
    Throttle(bytes_per_s=20_000, burst_bytes=100),
    Delay(fixed_s=0.3, jitter_s=0.2),
    Tear(most_bytes=9, pause_s=0.5),
    TornCut(after_bytes=77),
)


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_what_is_shown_can_be_typed(fault: LinkFault) -> None:
    word = shown(Shape().put(fault))
    assert read(word) == Put(fault=fault, direction=Direction.BOTH)
    assert read(f"  {word}   up ") == Put(fault=fault, direction=Direction.UP)
    off = f"no {word.split()[0]} down"
    assert read(off) == Take(kind=type(fault), direction=Direction.DOWN)


def test_short_forms_and_actions() -> None:
    assert read("") is None
    assert read("cut") == Act(word="cut")
    assert read("delay 1") == Put(fault=Delay(fixed_s=1.0), direction=Direction.BOTH)
    assert read("tear") == Put(fault=Tear(), direction=Direction.BOTH)


@pytest.mark.parametrize(
    "line",
    [
        *("no", "no cut", "no stall 3", "nothing", "stall 3", "throttle", "throttle 0"),
        *("throttle x", "throttle 1 2 3", "delay -1", "delay nan", "tear 0", "torn-cut"),
        *("torn-cut inf", "cut up", "delay 1 sideways"),
    ],
)
def test_what_is_typed_wrongly_is_told(line: str) -> None:
    with pytest.raises(FaultError, match="expected"):
        read(line)
