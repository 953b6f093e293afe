"""What the outbox's measurement concludes from what it saw."""

from pathlib import Path

import pytest

from bench.drain import Drain
from bench.errors import BenchError
from bench.offline import Offline, offline
from bench.outbox import Round, summarise

MIB = 1024 * 1024
DAY = Offline(records=8_640, payload=12 * MIB, disk=16 * MIB)


def test_each_promise_is_judged_within_its_round_and_by_the_median() -> None:
    rounds = [
        Round(plain=100, single=95, group=2_500),
        Round(plain=1_000, single=800, group=21_000),
        Round(plain=10, single=20, group=100),
    ]
    drain = Drain(
        live_rate=1_000, drain_rate=950, alone_ms=[1.0] * 99 + [2.0], beside_ms=[3.0] * 100
    )
    outcome = summarise(rounds, drain, DAY)
    found = {v.name: (v.measured, v.held) for v in outcome.verdicts}
    assert found == {
        "outbox.group": (21.0, True),
        "outbox.single": (0.95, True),
        "outbox.drain": (0.95, True),
        "outbox.delay": (3.0, False),
        "outbox.offline": (16.0, True),
    }


async def test_a_day_that_fits_only_because_it_was_thinned_is_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.offline.DAY_S", 3_600)
    with pytest.raises(BenchError, match="had to give way"):
        await offline(tmp_path, max_bytes=200_000)


async def test_a_shorter_time_offline_is_counted_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.offline.DAY_S", 1_800)
    found = await offline(tmp_path)
    assert found.records == 180
    assert found.payload < found.disk < 64 * MIB
