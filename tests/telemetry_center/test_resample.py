"""Promises of resampling and of reading questions: pure, so by table and by property."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from farshore_center.telemetry.question import parse_step, parse_time, split_series
from farshore_center.telemetry.resample import (
    AGGREGATES,
    Aggregate,
    natural_aggregate,
    resample,
    resample_mask,
)
from hypothesis import given
from hypothesis import strategies as st

NOW_MS = 1_763_830_000_000
points = st.lists(
    st.tuples(st.integers(0, 100), st.one_of(st.none(), st.integers(-50, 50))), max_size=30
)


@given(points, st.integers(1, 30), st.sampled_from(AGGREGATES))
def test_resampling_equals_the_plain_definition(
    given_points: list[tuple[int, int | None]], step_ms: int, how: Aggregate
) -> None:
    given_points.sort(key=lambda point: point[0])
    buckets: dict[int, list[int]] = {}
    for t, value in given_points:
        bucket = buckets.setdefault(t // step_ms * step_ms, [])
        if value is not None:
            bucket.append(value)
    definitions: dict[Aggregate, Callable[[list[int]], float]] = {
        "mean": lambda values: sum(values) / len(values),
        "min": min,
        "max": max,
        "last": lambda values: values[-1],
    }
    plain = definitions[how]
    t_ms = np.array([t for t, _value in given_points], np.int64)
    values = np.array([value for _t, value in given_points], np.float64)
    starts, thinned = resample(t_ms, values, step_ms, how)
    assert starts.tolist() == list(buckets)
    for number, bucket in zip(thinned.tolist(), buckets.values(), strict=True):
        if bucket:
            assert number == pytest.approx(plain(bucket))
        else:
            assert math.isnan(number)


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=30), st.integers(1, 30))
def test_a_bucket_is_marked_where_any_of_its_samples_is(
    samples: list[tuple[int, bool]], step_ms: int
) -> None:
    samples.sort()
    buckets: dict[int, bool] = {}
    for t, marked in samples:
        start = t // step_ms * step_ms
        buckets[start] = buckets.get(start, False) or marked
    t_ms = np.array([t for t, _marked in samples], np.int64)
    mask = np.array([marked for _t, marked in samples], np.bool_)
    assert resample_mask(t_ms, mask, step_ms).tolist() == list(buckets.values())


def test_a_step_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="step_ms"):
        resample(np.zeros(1, np.int64), np.zeros(1), 0)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("cpu.percent", "mean"),
        ("net.io_total", "last"),
        ("net.io_total{device=eth0}", "last"),
        ("odd{of=x_total}", "mean"),
    ],
)
def test_counters_are_known_by_their_name(name: str, how: Aggregate) -> None:
    assert natural_aggregate(name) == how


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("1763830000000", NOW_MS),
        ("now", NOW_MS),
        ("-15m", NOW_MS - 900_000),
        ("-1.5h", NOW_MS - 5_400_000),
        ("-2d", NOW_MS - 172_800_000),
        ("2025-11-22T16:46:40Z", NOW_MS),
        ("2025-11-22T18:46:40+02:00", NOW_MS),
        ("2025-11-22T18:46:40 02:00", NOW_MS),
        ("2025-11-22T16:46:40.250Z", NOW_MS + 250),
        ("0", 0),
    ],
)
def test_times_that_are_understood(text: str, expected_ms: int) -> None:
    assert parse_time(text, NOW_MS) == expected_ms


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "-15", "15m", "2025-11-22T16:46:40", "-999999d", "9" * 30, "²", "-1e9s"],
)
def test_times_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text, NOW_MS)


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [("10s", 10_000), ("1m", 60_000), ("250ms", 250), ("30", 30_000), ("0.5", 500), ("1h", 3.6e6)],
)
def test_steps_that_are_understood(text: str, expected_ms: int) -> None:
    assert parse_step(text) == expected_ms


@pytest.mark.parametrize("text", ["0", "0s", "-1s", "fast", "1y", "0.0001", "9" * 400, "nan"])
def test_steps_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_step(text)


def test_series_are_split_at_commas_outside_of_braces() -> None:
    given_texts = ["cpu.*, mem.used", "net.io{device=eth0,direction=in},x", ""]
    expected = ["cpu.*", "mem.used", "net.io{device=eth0,direction=in}", "x"]
    assert split_series(given_texts) == expected
    with pytest.raises(ValueError, match="more than 200"):
        split_series([",".join("abc" for _ in range(201))])
