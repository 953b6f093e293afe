"""The sampler takes every collector's samples on time, and one that fails spoils nothing."""

import asyncio
import logging
from typing import Any

import pytest
from edge.edge_bench import eventually, timing
from farshore_edge.errors import DatabaseError, RecordError
from farshore_edge.outbox import Timing
from farshore_edge.telemetry.sampler import Sampler
from farshore_protocol.clock import ManualClock


class Counter:
    def __init__(self, name: str, series: int = 1) -> None:
        self.name = name
        self.count = 0
        self.series = series

    def sample(self) -> dict[str, float]:
        self.count += 1
        return {f"{self.name}.{n}": float(self.count) for n in range(self.series)}


class Broken:
    name = "broken"

    def sample(self) -> dict[str, float]:
        raise ZeroDivisionError("a driver's own trouble")


class Bench:
    def __init__(self, *collectors: Any, interval_s: float = 5.0, batch_s: float = 10.0) -> None:
        self.clock = ManualClock()
        self.batches: list[tuple[dict[str, Any], Timing]] = []
        self.failure: Exception | None = None
        self.sampler = Sampler(
            collectors,
            interval_s=interval_s,
            batch_s=batch_s,
            now=lambda: timing(self.clock),
            append=self._append,
        )

    async def _append(self, body: dict[str, Any], when: Timing) -> None:
        if self.failure is not None:
            raise self.failure
        self.batches.append((body, when))


async def test_a_batch_has_the_timing_of_its_first_sample_and_offsets_from_there() -> None:
    bench = Bench(Counter("a"))
    begun = timing(bench.clock)
    for _ in range(3):
        bench.sampler.take()
        bench.clock.advance(5)
    await bench.sampler.flush()
    assert bench.batches == [({"dt": [0, 5000, 10000], "m": {"a.0": [1.0, 2.0, 3.0]}}, begun)]
    await bench.sampler.flush()
    assert len(bench.batches) == 1, "nothing was sampled since"


async def test_a_wall_clock_that_jumps_within_a_batch_does_not_bend_it() -> None:
    bench = Bench(Counter("a"))
    for jump_ms in (0, -3_600_000, 7_200_000):
        bench.clock.set_wall(bench.clock.now_ms() + jump_ms)
        bench.sampler.take()
        bench.clock.advance(5)
    await bench.sampler.flush()
    assert bench.batches[0][0]["dt"] == [0, 5000, 10000]


async def test_a_collector_that_fails_leaves_the_others_alone_and_is_reported_once_an_hour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(Counter("a"), Broken(), Counter("b"))
    with caplog.at_level(logging.WARNING):
        for _ in range(10):
            bench.sampler.take()
            bench.clock.advance(600)
    await bench.sampler.flush()
    assert set(bench.batches[0][0]["m"]) == {"a.0", "b.0"}
    complaints = [r for r in caplog.records if r.message == "a collector failed"]
    assert len(complaints) == 2, "in 90 minutes"
    assert vars(complaints[0])["collector"] == "broken"
    assert "ZeroDivisionError" in vars(complaints[0])["error"]


async def test_a_value_that_is_missing_once_is_null() -> None:
    first, second = Counter("a"), Counter("b")
    bench = Bench(first)
    bench.sampler.take()
    bench.sampler._collectors = (first, second)
    bench.sampler.take()
    await bench.sampler.flush()
    assert bench.batches[0][0]["m"] == {"a.0": [1.0, 2.0], "b.0": [None, 1.0]}


async def test_a_batch_is_handed_over_when_it_covers_its_time() -> None:
    bench = Bench(Counter("a"), interval_s=0.01, batch_s=0.03)
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    bench.clock.monotonic_s = lambda: loop.time() - start_s  # type: ignore[method-assign] # real time
    running = asyncio.create_task(bench.sampler.run())
    await eventually(lambda: len(bench.batches) >= 3)
    running.cancel()
    for body, _ in bench.batches:
        assert 1 <= len(body["dt"]) <= 4
        assert body["dt"] == sorted(body["dt"])


async def test_a_batch_that_grows_large_is_handed_over_before_its_time() -> None:
    bench = Bench(Counter("a", series=500), interval_s=0.001, batch_s=3600)
    running = asyncio.create_task(bench.sampler.run())
    await eventually(lambda: bench.batches)
    running.cancel()
    assert len(bench.batches[0][0]["dt"]) == 8


@pytest.mark.parametrize("failure", [DatabaseError("disk full"), RecordError("too large")])
async def test_a_batch_that_cant_be_kept_does_not_end_the_sampling(failure: Exception) -> None:
    bench = Bench(Counter("a"), interval_s=0.001, batch_s=0.001)
    bench.failure = failure
    running = asyncio.create_task(bench.sampler.run())
    counter = bench.sampler._collectors[0]
    await eventually(lambda: counter.count > 5)  # type: ignore[attr-defined] # a Counter
    assert not running.done()
    bench.failure = None
    await eventually(lambda: bench.batches)
    running.cancel()
