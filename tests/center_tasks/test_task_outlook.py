"""What is expected of a grant: never before now, soon if it is a little late, nothing if it is very late."""

from typing import Any

import orjson
import pytest
from farshore_center.tasks.outlook import LATE_S, SOON_S, outlook_of, stored_outlook
from hypothesis import given
from hypothesis import strategies as st

seconds = st.floats(0, 1e5, allow_nan=False)


def decision(done_s: float | None, p95_s: float | None = None, **more: Any) -> dict[str, Any]:
    figures = (("completion", done_s), ("completion p95", done_s if p95_s is None else p95_s))
    return {
        "estimate": [{"name": name, "value": value, "origin": "hint"} for name, value in figures],
        **more,
    }


@given(seconds, seconds, st.integers(0, 10**8))
def test_an_expected_end_lies_ahead_and_never_far_behind_what_was_reckoned(
    done_s: float, more_s: float, after_ms: int
) -> None:
    found = outlook_of(decision(done_s, done_s + more_s), 1_000).end(1_000 + after_ms)
    late_s = (done_s + more_s) * 1.1 + LATE_S
    if found is None:
        assert after_ms / 1000 >= late_s - 0.001
        return
    assert after_ms / 1000 <= late_s + 0.001
    assert found.in_s > 0
    assert found.origin == "hint"
    assert (
        after_ms / 1000 + found.in_s <= max(late_s, 0.1 * late_s + late_s, SOON_S + late_s) + 0.01
    )


def test_what_is_late_by_a_moment_is_expected_in_a_moment() -> None:
    of = outlook_of(decision(60.0, 80.0), 0)
    told = {at_s: getattr(of.end(at_s * 1000), "in_s", None) for at_s in (0, 59, 60, 81, 97, 98)}
    assert told == {0: 60.0, 59: 1.0, 60: 20.0, 81: 8.1, 97: 9.7, 98: None}
    quick = outlook_of(decision(1.3, 1.34), 0).end(1_400)
    assert quick is not None
    assert quick.in_s == SOON_S


def test_without_a_run_time_nothing_is_expected() -> None:
    unknown: list[dict[str, Any]] = [{}, decision(None), {"estimate": []}]
    for made in unknown:
        assert outlook_of(made, 0).end(1) is None
    assert stored_outlook(None, 0).end(1) is None
    assert stored_outlook(orjson.dumps(decision(5.0)).decode(), 0).end(0) is not None


def test_what_moves_becomes_less_evenly_and_is_through_at_its_time() -> None:
    of = outlook_of(
        {
            "estimate": [{"name": "transfer", "value": 10.0, "origin": "measured"}],
            "transfers": [["cam", "up", 1_000], ["mic", "down", 500]],
        },
        5_000,
    )
    assert [each.size_bytes for each in of.left(5_000)] == [1_000, 500]
    assert list(of.left(12_500)) == [("cam", "up", 250), ("mic", "down", 125)]
    assert list(of.left(15_000)) == []
    assert [each.size_bytes for each in of.left(1)] == [1_000, 500], "a clock that was set back"


@pytest.mark.parametrize("value", [0.0, None])
def test_what_takes_no_time_moves_nothing(value: float | None) -> None:
    made = {
        "estimate": [{"name": "transfer", "value": value, "origin": "measured"}],
        "transfers": [["cam", "up", 1_000]],
    }
    assert list(outlook_of(made, 0).left(0)) == []
