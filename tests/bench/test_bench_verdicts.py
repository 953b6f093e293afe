"""A promise is held or not, by its bound; runs are told by their least, middle and most."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model import Figure, Runs, Verdict, percentile

CASES = {
    "below an upper bound": (True, False, 9.0, True),
    "an upper bound may be reached": (True, False, 10.0, True),
    "above an upper bound": (True, False, 10.1, False),
    "a strict upper bound may not be reached": (True, True, 10.0, False),
    "below a lower bound": (False, False, 9.9, False),
    "a lower bound may be reached": (False, False, 10.0, True),
    "above a lower bound": (False, False, 11.0, True),
}


@pytest.mark.parametrize(("at_most", "strict", "measured", "held"), CASES.values(), ids=CASES)
def test_held(at_most: bool, strict: bool, measured: float, held: bool) -> None:
    side = Figure(name="x", what="x", unit="s", runs=Runs.of([measured]))
    verdict = Verdict(
        name="x",
        what="x",
        unit="s",
        promised=10.0,
        measured=measured,
        at_most=at_most,
        strict=strict,
        sides=(side,),
    )
    assert verdict.held is held
    assert verdict.ratio == pytest.approx(measured / 10)


def test_runs_tell_least_middle_and_most() -> None:
    runs = Runs.of([3.0, 1.0, 10.0, 2.0])
    assert (runs.low, runs.median, runs.high) == (1.0, 2.5, 10.0)


def test_no_run_is_no_measurement() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Runs.of([])


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=200),
    st.sampled_from([1, 50, 90, 99, 100]),
)
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(
    values: list[float], percent: int
) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    # And it is the smallest such value.
    assert sum(value < found for value in values) * 100 < percent * len(values)
