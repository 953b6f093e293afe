"""Promises of inbox and chunks: nothing lost, nothing twice, the same answer before and after."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest
from farshore_center.db.tables import metadata
from farshore_center.telemetry import history, inbox, store
from farshore_center.telemetry.errors import BatchError, ConflictError, TooManyPointsError
from farshore_center.telemetry.model import batches as batch_table
from farshore_center.telemetry.model import chunks as chunk_table
from farshore_center.telemetry.samples import Batch
from farshore_center.telemetry.store import CompactionSettings
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, create_engine, event, func, select, update
from sqlalchemy.pool import StaticPool
from telemetry_center.samples_strategies import (
    NAMES,
    T0_MS,
    batches,
    points_of_batches,
    points_of_history,
)

SETTINGS = CompactionSettings(window_s=600, target_samples=20)
DAY_MS = 86_400_000
EVER = (0, 2**50)


@contextmanager
def scratch() -> Iterator[Connection]:
    engine: Engine = create_engine("sqlite://", poolclass=StaticPool)
    metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def connection() -> Iterator[Connection]:
    with scratch() as connection:
        yield connection


def put(connection: Connection, node: str, *given_batches: Batch, received_ms: int = 0) -> None:
    rows = [inbox.pack(node, batch, received_ms=received_ms) for batch in given_batches]
    store.insert_batches(connection, rows)


def count(connection: Connection, table: object) -> int:
    statement = select(func.count()).select_from(table)  # type: ignore[arg-type]
    return int(connection.execute(statement).scalar_one())


def minute(number: int, **series: float | None) -> Batch:
    given_series = {name: [value] for name, value in (series or {"cpu": float(number)}).items()}
    return Batch(ts_ms=T0_MS + number * 60_000, dt_ms=[0], series=given_series)


@given(
    st.lists(batches(), max_size=12),
    st.integers(-10, 70),
    st.integers(0, 70),
    st.sampled_from([None, ["cpu.*"], [NAMES[2], "Ü"]]),
)
def test_compaction_and_merging_do_not_change_any_answer(
    given_batches: list[Batch], start_s: int, length_s: int, patterns: list[str] | None
) -> None:
    from_ms = T0_MS + start_s * 1000
    to_ms = from_ms + length_s * 1000
    wanted = history.matcher(patterns)
    expected = {
        name: points
        for name, points in points_of_batches(given_batches, from_ms, to_ms).items()
        if wanted(name)
    }
    with scratch() as connection:
        for batch in given_batches:
            put(connection, "n1", batch)
        put(connection, "n2", minute(0, other=1.0))

        def answer() -> object:
            return points_of_history(history.query(connection, "n1", patterns, from_ms, to_ms))

        assert answer() == expected
        few = CompactionSettings(max_batches=2, window_s=600, target_samples=20)
        store.compact(connection, "n1", few)
        assert answer() == expected, "half of it compacted"
        while store.compact(connection, "n1", few):
            assert answer() == expected
        assert count(connection, batch_table) == 1, "the inbox is empty but for the other node"
        for settings in (SETTINGS, CompactionSettings(window_s=DAY_MS, target_samples=10_000)):
            merging = store.plan_merge(connection, "n1", settings)
            if merging is not None:
                store.apply(connection, merging)
                assert answer() == expected, "merged"


def test_a_backlog_becomes_chunks_of_its_own_time(connection: Connection) -> None:
    put(connection, "n1", *(minute(number) for number in (-3 * 1440, -2 * 1440, 0, 1)))
    store.compact(connection, "n1", SETTINGS)
    spans = connection.execute(select(chunk_table.c.t1_ms - chunk_table.c.t0_ms)).scalars().all()
    assert len(spans) == 3
    assert max(spans) <= 60_000, "no chunk spans the days between"


def test_small_chunks_of_one_window_are_merged_and_big_ones_left_alone(
    connection: Connection,
) -> None:
    settings = CompactionSettings(max_batches=2, window_s=86_400, target_samples=10)
    for number in range(8):
        put(connection, "n1", minute(number))
    while store.compact(connection, "n1", settings):
        pass
    assert count(connection, chunk_table) == 4
    merging = store.plan_merge(connection, "n1", settings)
    assert merging is not None
    store.apply(connection, merging)
    assert connection.execute(select(chunk_table.c.samples)).scalars().all() == [8]
    assert store.plan_merge(connection, "n1", settings) is None


def test_a_rewrite_that_was_overtaken_changes_nothing(connection: Connection) -> None:
    put(connection, "n1", minute(0), minute(1))
    plan = store.plan_compaction(connection, "n1", SETTINGS)
    assert plan is not None
    store.apply(connection, plan)
    connection.commit()
    with pytest.raises(ConflictError):
        store.apply(connection, plan)
    connection.rollback()
    assert count(connection, chunk_table) == 1
    put(connection, "n1", minute(2), minute(3))
    with pytest.raises(ConflictError):  # ids are never given twice
        store.apply(connection, plan)


def test_what_arrives_during_a_compaction_stays(connection: Connection) -> None:
    put(connection, "n1", minute(0), minute(1))
    plan = store.plan_compaction(connection, "n1", SETTINGS)
    put(connection, "n1", minute(2))
    assert plan is not None
    store.apply(connection, plan)
    assert count(connection, batch_table) == 1
    found = points_of_history(history.query(connection, "n1", None, *EVER))
    assert [value for _t, value in found["cpu"]] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    "encode",
    [orjson.dumps, lambda content: zlib.compress(orjson.dumps(content))],
    ids=["JSON as it came", "zlib as it came"],
)
def test_a_payload_from_the_wire_is_kept_as_it_came(connection: Connection, encode: object) -> None:
    batch = Batch(ts_ms=T0_MS, dt_ms=[500, 0], series={"cpu": [3.1, None]}, approximate=True)
    content = {"epoch": "e", "seq": 1, "ts": 5, "dt": batch.dt_ms, "m": batch.series}
    wire: bytes = encode(content)  # type: ignore[operator]
    store.insert_batches(connection, [inbox.pack("n1", batch, received_ms=9, wire=wire)])
    assert connection.execute(select(batch_table.c.payload)).scalar_one() == wire
    expected = {"cpu": [(T0_MS, None), (T0_MS + 500, 3.1)]}
    assert points_of_history(history.query(connection, "n1", None, *EVER)) == expected
    store.compact(connection, "n1", SETTINGS)
    assert points_of_history(history.query(connection, "n1", None, *EVER)) == expected


def test_a_batch_without_a_possible_date_is_refused() -> None:
    with pytest.raises(BatchError, match="no date"):
        inbox.pack("n1", Batch(ts_ms=2**60, dt_ms=[0], series={}), received_ms=0)


def test_damaged_rows_are_left_out_and_counted(connection: Connection) -> None:
    put(connection, "n1", minute(0), minute(1))
    store.compact(connection, "n1", SETTINGS)
    put(connection, "n1", minute(2), minute(3))
    connection.execute(update(chunk_table).values(payload=b"FSTC rotten"))
    damaged_id = connection.execute(select(func.max(batch_table.c.id))).scalar_one()
    connection.execute(
        update(batch_table).where(batch_table.c.id == damaged_id).values(payload=b"{")
    )
    found = history.query(connection, "n1", None, *EVER)
    assert found.damaged == 2
    assert points_of_history(found) == {"cpu": [(T0_MS + 120_000, 2.0)]}
    rewrite = store.compact(connection, "n1", SETTINGS)
    assert rewrite is not None
    assert rewrite.damaged == (damaged_id,)
    assert count(connection, batch_table) == 0, "a damaged batch does not block the inbox"


def test_due_are_full_inboxes_and_old_ones_the_oldest_first(connection: Connection) -> None:
    put(connection, "full", minute(0), minute(1), received_ms=500)
    put(connection, "fresh", minute(0), received_ms=500)
    put(connection, "old", minute(0), received_ms=50)
    due = store.due_nodes(connection, min_batches=2, received_before_ms=100, limit=10)
    assert due == ["old", "full"]
    assert store.due_nodes(connection, min_batches=2, received_before_ms=100, limit=1) == ["old"]


def test_finding_what_is_due_reads_an_index_alone(connection: Connection) -> None:
    seen: list[tuple[str, object]] = []

    def note(_c: object, _cursor: object, sql: str, parameters: object, *_rest: object) -> None:
        seen.append((sql, parameters))

    event.listen(connection, "before_cursor_execute", note)
    store.due_nodes(connection, min_batches=2, received_before_ms=100, limit=10)
    event.remove(connection, "before_cursor_execute", note)
    sql, parameters = seen[0]
    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters).all()  # type: ignore[arg-type]
    assert "COVERING INDEX ix_telemetry_batch_range" in str(plan)


def test_expiry_deletes_whole_old_chunks_a_bounded_number_at_a_time(
    connection: Connection,
) -> None:
    settings = CompactionSettings(window_s=60, target_samples=10)
    put(connection, "n1", *(minute(number) for number in range(5)))
    store.compact(connection, "n1", settings)
    before_ms = T0_MS + 3 * 60_000
    assert store.count_expired(connection, before_ms=before_ms) == 3
    assert store.expire(connection, before_ms=before_ms, limit=2) == 2
    assert store.expire(connection, before_ms=before_ms, limit=2) == 1
    assert store.expire(connection, before_ms=before_ms, limit=2) == 0
    found = points_of_history(history.query(connection, "n1", None, *EVER))
    assert [value for _t, value in found["cpu"]] == [3.0, 4.0]


def test_deleting_a_node_deletes_its_samples_alone(connection: Connection) -> None:
    for node in ("n1", "n2"):
        put(connection, node, minute(0))
        store.compact(connection, node, SETTINGS)
        put(connection, node, minute(1))
    store.delete_node(connection, "n1")
    assert history.query(connection, "n1", None, *EVER).series == {}
    assert len(points_of_history(history.query(connection, "n2", None, *EVER))["cpu"]) == 2


def test_a_query_that_would_read_too_much_is_stopped(connection: Connection) -> None:
    put(connection, "n1", *(minute(number) for number in range(10)))
    with pytest.raises(TooManyPointsError):
        history.query(connection, "n1", None, *EVER, max_values=9)
    assert len(history.query(connection, "n1", None, *EVER, max_values=10).series) == 1


def test_names_come_from_chunks_and_inbox(connection: Connection) -> None:
    put(connection, "n1", minute(0, old=1.0))
    store.compact(connection, "n1", SETTINGS)
    put(connection, "n1", minute(1, new=1.0))
    assert history.series_names(connection, "n1") == ["new", "old"]
    assert history.series_names(connection, "n2") == []
