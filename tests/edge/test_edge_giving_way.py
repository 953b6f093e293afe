"""What gives way in a full buffer: metrics are thinned before any is dropped, nothing without a word."""

import random
from pathlib import Path
from typing import Any

import pytest
from edge.buffer_bench import Bench
from edge.edge_bench import FailingDatabase, seeded_ids, timing
from farshore_center.ingest.arrival import loss_word, read
from farshore_center.ingest.sinks import events_write
from farshore_edge.database import SqliteDatabase
from farshore_edge.outbox import Quota
from farshore_edge.outbox import room as room_module
from farshore_protocol.codec import MAX_MESSAGE_BYTES
from farshore_protocol.messages import Event
from farshore_protocol.stream import RangeSet
from farshore_protocol.telemetry.batch import columns
from farshore_protocol.topics import Up, parse
from farshore_sim.hardware import SimulatedHardware


async def _hours(bench: Bench, hours: float, per_batch_s: int = 60, series: int = 20) -> int:
    rng, count = random.Random(4), int(hours * 3600 / per_batch_s)
    for _ in range(count):
        body = {"dt": [0], "m": {f"s{n}": [rng.random()] for n in range(series)}}
        await bench.metric(body)
        bench.clock.advance(per_batch_s)
    return count


async def test_metrics_are_thinned_the_oldest_first_and_nothing_is_dropped(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "agent.db", seeded_ids())
    bench = Bench(database, max_bytes=200_000)
    count = await _hours(bench, 24)
    kept = RangeSet(database.streams()["metrics"].kept)
    lost = RangeSet((a, b) for stream, a, b, _ in bench.losses() if stream == "metrics")
    assert {reason for *_, reason in bench.losses()} == {"thinned"}
    assert lost.last < kept.first, "never a newer one before an older one"
    assert lost.missing(1, kept.first - 1) == []
    assert kept.pairs() == [(kept.first, count)]
    remains = [word for word in bench.events("evt/loss") if word["stream"] == "metrics"]
    counted = sum(word["series"]["s0"][0] for word in remains)
    assert counted == len(lost), "every sample that is gone is counted in what remains"
    total = sum(state.bytes for state in database.streams().values())
    assert total <= 210_000
    await bench.outbox.close()
    await database.close()


async def test_summaries_become_coarser_before_they_crowd_out_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "SUMMARIES_SHARE", 0.05)
    database = SqliteDatabase(tmp_path / "agent.db", seeded_ids())
    bench = Bench(database, max_bytes=100_000)
    count = await _hours(bench, 48)
    told = bench.events("evt/loss")
    remains = [word for word in told if word["stream"] == "metrics"]
    assert {3600} <= {word["period_s"] for word in remains}
    covered = RangeSet((w["range"][0], w["range"][1]) for w in remains)
    kept = RangeSet(database.streams()["metrics"].kept)
    assert covered.missing(1, kept.first - 1) == []
    assert not any(kept.within(*part) for part in covered)
    counted = sum(word["series"]["s0"][0] for word in remains)
    assert counted == len(covered), "no sample is counted twice"
    assert len(kept) + len(covered) == count
    gone = RangeSet((w["range"][0], w["range"][1]) for w in told if w["stream"] == "events")
    here = RangeSet(database.streams()["events"].kept)
    assert len(gone) + len(here) == database.streams()["events"].head, "the books of events add up"
    assert all(len(r.payload) < MAX_MESSAGE_BYTES for r in _records(database, "events"))
    await bench.outbox.close()
    await database.close()


def _records(database: SqliteDatabase, stream: str) -> list[Any]:
    return list(database.records(stream, range(1, 100_000)).values())


async def test_the_center_takes_and_keeps_what_remains(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "agent.db", seeded_ids())
    bench = Bench(database, max_bytes=200_000)
    await _hours(bench, 6, series=60)
    records = [r for r in _records(database, "events") if r.path == "evt/loss"]
    assert any(not record.payload.startswith(b"{") for record in records), "compressed"
    for record in records:
        topic = parse(f"fs1/up/n1/{record.path}")
        assert isinstance(topic, Up)
        arrival = read(topic, record.payload)
        assert arrival.fault is None
        assert isinstance(arrival.body, Event)
        word = loss_word(arrival.body)
        assert word.reason == "thinned"
        if word.stream == "events":
            continue  # a finer summary, whose place a coarser one has taken
        [draft] = events_write([(arrival, 0, False)], None)(None)  # type: ignore[arg-type] # unused
        assert draft.data["series"]["s0"][0] >= 1
    await bench.outbox.close()
    await database.close()


@pytest.mark.parametrize("stream", ["results", "events", "reports"])
async def test_other_streams_have_bounds_of_their_own_and_never_without_a_word(
    stream: str,
) -> None:
    quotas = {stream: Quota(max_bytes=2**20, max_records=50, max_age_s=10**9)}
    bench = Bench(FailingDatabase(), quotas=quotas)
    for n in range(120):
        await bench.outbox.append(stream, "evt/x", {"data": {"n": n}})
    state = bench.disk.streams()[stream]
    kept = RangeSet(state.kept)
    lost = RangeSet((a, b) for name, a, b, _ in bench.losses() if name == stream)
    assert len(kept) <= 52
    assert not any(kept.within(*part) for part in lost)
    kept.update(lost)
    assert kept.pairs() == [(1, state.head)]
    await bench.outbox.close()


async def test_old_metrics_are_thinned_once_both_clocks_are_checked() -> None:
    quotas = {"metrics": Quota(max_bytes=2**30, max_records=10**6, max_age_s=3600)}
    bench = Bench(FailingDatabase(), quotas=quotas)
    synced = False

    def now() -> Any:
        at = timing(bench.clock)
        return type(at)(boot=at.boot, up_ms=at.up_ms, ts=at.ts, synced=synced)

    bench.outbox._now = now
    bench.outbox._room._now = now
    synced = True
    await _hours(bench, 1)
    synced = False
    bench.clock.advance(7200)
    await bench.metric()
    assert bench.losses() == [], "a clock that may be wrong throws nothing away"
    synced = True
    bench.clock.advance(601)
    await bench.metric()
    assert bench.disk.losses()[0].first == 1
    assert {reason for *_, reason in bench.losses()} == {"thinned"}
    assert len(bench.on_disk()) == 2
    await bench.outbox.close()


@pytest.mark.parametrize("profile", ["industrial-gateway", "gpu-box"])
async def test_a_day_without_a_link_fits_in_64_mib(tmp_path: Path, profile: str) -> None:
    now_s = [1000.0]
    machine = SimulatedHardware(node="n1", seed=3, now_s=lambda: now_s[0], profile=profile)
    collectors = machine.collectors()
    database = SqliteDatabase(tmp_path / "agent.db", seeded_ids())
    bench = Bench(database)
    pending: list[Any] = []
    for number in range(8640):
        samples: list[dict[str, float]] = []
        for _ in range(2):
            sample: dict[str, float] = {}
            for collector in collectors:
                sample.update(collector.sample())
            samples.append(sample)
            now_s[0] += 5
        pending.append({"dt": [0, 5000], "m": columns(samples)})
        if number % 240 == 239:  # the size on the disk is the same, the syncs are fewer
            await bench.outbox.append_many("metrics", "tel/host", pending)
            pending.clear()
    assert database.streams()["metrics"].kept == ((1, 8640),)
    size = _size(tmp_path)
    assert size <= 32 * 1024 * 1024, f"{size / 2**20:.1f} MiB"
    await bench.outbox.close()
    await database.close()


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
