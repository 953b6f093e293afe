"""Promises of TelemetryHistory: it tidies by itself, answers in the contract's shape, remembers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from farshore_center.db.database import Database
from farshore_center.telemetry import inbox, store
from farshore_center.telemetry.errors import TooManyPointsError
from farshore_center.telemetry.model import batches, chunks
from farshore_center.telemetry.samples import Batch
from farshore_center.telemetry.service import HistorySettings, TelemetryHistory
from sqlalchemy import Connection, func, select

T0_MS = 1_763_830_000_000
EVER = (0, 2**50)


class Clock:
    def __init__(self) -> None:
        self.now_ms = T0_MS

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/center.db")
    await database.start()
    yield database
    await database.stop()


async def put(database: Database, node: str, *given: Batch, received_ms: int = T0_MS) -> None:
    rows = [inbox.pack(node, batch, received_ms=received_ms) for batch in given]
    await database.write(lambda connection: store.insert_batches(connection, rows))


def batch(minute: int, **series: float | None) -> Batch:
    return Batch(
        ts_ms=T0_MS + minute * 60_000,
        dt_ms=[0],
        series={name: [value] for name, value in series.items()},
    )


def counts(connection: Connection) -> tuple[int, int]:
    return tuple(  # type: ignore[return-value]
        connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in (batches, chunks)
    )


async def test_a_full_inbox_is_compacted_and_a_young_small_one_is_left(
    database: Database, clock: Clock
) -> None:
    history = TelemetryHistory(database, clock, HistorySettings(compact_batches=3))
    await put(database, "full", *(batch(n, cpu=1.0) for n in range(3)))
    await put(database, "small", batch(0, cpu=1.0))
    assert (await history.tidy()).compacted == 3
    assert await database.read(counts) == (1, 1)


async def test_an_old_inbox_is_compacted_however_small(database: Database, clock: Clock) -> None:
    history = TelemetryHistory(database, clock, HistorySettings(compact_age_s=600))
    await put(database, "n1", batch(0, cpu=1.0))
    clock.now_ms += 600_000
    assert (await history.tidy()).compacted == 0
    clock.now_ms += 1
    assert (await history.tidy()).compacted == 1


async def test_a_round_does_a_bounded_number_of_nodes(database: Database, clock: Clock) -> None:
    settings = HistorySettings(compact_batches=1, nodes_per_round=2)
    history = TelemetryHistory(database, clock, settings)
    for node in ("a", "b", "c"):
        await put(database, node, batch(0, cpu=1.0))
    assert (await history.tidy()).compacted == 2
    assert (await history.tidy()).compacted == 1


async def test_small_chunks_become_bigger_ones(database: Database, clock: Clock) -> None:
    history = TelemetryHistory(database, clock, HistorySettings(compact_batches=1))
    merged = 0
    for minute in range(4):
        await put(database, "n1", batch(minute, cpu=float(minute)))
        merged += (await history.tidy()).merged
    assert merged == 4
    assert await database.read(counts) == (0, 1)


async def test_chunks_past_retention_go_and_idle_rounds_write_nothing(
    database: Database, clock: Clock
) -> None:
    settings = HistorySettings(compact_batches=1, retention_s=3600)
    history = TelemetryHistory(database, clock, settings)
    await put(database, "n1", batch(0, cpu=1.0))
    await history.tidy()
    before = database.stats().transactions
    assert (await history.tidy()).expired == 0
    assert database.stats().transactions == before
    clock.now_ms += 3_600_001
    assert (await history.tidy()).expired == 1
    assert await history.query("n1", None, *EVER) == {}


async def test_the_loop_tidies_and_survives_a_database_that_fails(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = TelemetryHistory(
        database, clock, HistorySettings(compact_batches=1, interval_s=0.001)
    )
    await database.stop()
    running = asyncio.create_task(history.run())
    await asyncio.sleep(0)
    await database.start()
    await put(database, "n1", batch(0, cpu=1.0))
    async with asyncio.timeout(10):
        while await database.read(counts) != (0, 1):  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.001)
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_query_answers_in_the_shape_of_the_contract(
    database: Database, clock: Clock
) -> None:
    history = TelemetryHistory(database, clock)
    await put(database, "n1", batch(0, cpu=1.5, mem=2.0), batch(1, cpu=None))
    assert await history.query("n1", ["c*"], T0_MS, T0_MS + 60_001) == {
        "cpu": {"t": [T0_MS, T0_MS + 60_000], "v": [1.5, None]}
    }
    assert await history.query("n1", ["c*"], T0_MS, T0_MS + 60_000) == {
        "cpu": {"t": [T0_MS], "v": [1.5]}
    }
    assert await history.query("n2", None, *EVER) == {}


async def test_a_step_means_gauges_and_takes_the_last_of_counters(
    database: Database, clock: Clock
) -> None:
    history = TelemetryHistory(database, clock)
    name = "io_total{device=sda}"
    t0_ms = T0_MS - T0_MS % 60_000
    given = Batch(ts_ms=t0_ms, dt_ms=[0, 10_000], series={"cpu": [1.0, 4.0], name: [10, 30]})
    await put(database, "n1", given)
    answer = await history.query("n1", None, *EVER, step_ms=60_000)
    assert answer == {"cpu": {"t": [t0_ms], "v": [2.5]}, name: {"t": [t0_ms], "v": [30.0]}}
    largest = await history.query("n1", ["cpu"], *EVER, step_ms=60_000, how="max")
    assert largest["cpu"]["v"] == [4.0]


async def test_times_that_nobody_could_check_are_marked_and_stay_so_when_compacted(
    database: Database, clock: Clock
) -> None:
    history = TelemetryHistory(database, clock)
    rough = [replace(batch(minute, cpu=2.0), approximate=True) for minute in (1, 2)]
    await put(database, "n1", batch(0, cpu=1.0, load=0.5), *rough, batch(3, cpu=3.0))
    for look in ("in the inbox", "in a chunk"):
        answer = await history.query("n1", None, *EVER)
        assert answer["cpu"]["approximate"] == [False, True, True, False], look
        assert "approximate" not in answer["load"], look
        stepped = (await history.query("n1", ["cpu"], *EVER, step_ms=60_000))["cpu"]
        assert stepped["approximate"] == [False, True, True, False], look
        clock.now_ms += 3_600_000
        await history.tidy()
    assert await database.read(counts) == (0, 1)


async def test_the_bound_counts_what_is_returned(database: Database, clock: Clock) -> None:
    history = TelemetryHistory(database, clock, HistorySettings(max_points=5))
    await put(database, "n1", *(batch(n, cpu=1.0) for n in range(6)))
    with pytest.raises(TooManyPointsError):
        await history.query("n1", None, *EVER)
    assert len((await history.query("n1", None, *EVER, step_ms=120_000))["cpu"]["t"]) <= 5


async def test_latest_values_follow_the_batches_and_nulls_do_not_hide_them(
    database: Database, clock: Clock
) -> None:
    history = TelemetryHistory(database, clock)
    for given in (batch(2, cpu=2.0, mem=7.0), batch(1, cpu=1.0), batch(3, cpu=None)):
        await put(database, "n1", given)
        history.note("n1", given)
    latest = await history.latest(["n1", "n2"], ["cpu"])
    assert list(latest["n1"]) == ["cpu"]
    assert latest["n1"]["cpu"].value == 2.0
    assert latest["n1"]["cpu"].t_ms == T0_MS + 120_000
    assert latest["n2"] == {}


async def test_latest_values_come_from_the_store_after_a_restart(
    database: Database, clock: Clock
) -> None:
    await put(database, "n1", batch(0, cpu=1.0, disk=5.0))
    before = TelemetryHistory(database, clock, HistorySettings(compact_batches=1))
    await before.tidy()
    await put(database, "n1", batch(1, cpu=2.0))
    after = TelemetryHistory(database, clock)
    after.note("n1", batch(2, mem=3.0))
    latest = (await after.latest(["n1"]))["n1"]
    assert {name: last.value for name, last in latest.items()} == {
        "cpu": 2.0,
        "disk": 5.0,
        "mem": 3.0,
    }
    after.forget("n1")
    await database.write(lambda connection: store.delete_node(connection, "n1"))
    assert await after.latest(["n1"]) == {"n1": {}}


async def test_series_names(database: Database, clock: Clock) -> None:
    history = TelemetryHistory(database, clock)
    await put(database, "n1", batch(0, b=1.0, a=1.0))
    assert await history.series_names("n1") == ["a", "b"]


def test_a_setting_that_is_not_positive_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="retention_s: 0, expected more than 0"):
        HistorySettings(retention_s=0)
