"""The real collectors on the machine that runs the tests."""

from __future__ import annotations

import math
import os
import statistics
import time
from typing import Any

import pytest
from farshore_edge.errors import CollectorError
from farshore_edge.telemetry.collectors import host
from farshore_edge.telemetry.collectors.battery import BatteryCollector
from farshore_edge.telemetry.collectors.catalogue import CATALOGUE, entry_of
from farshore_edge.telemetry.collectors.host import host_collectors
from farshore_edge.telemetry.collectors.model import Collector, Sample

# A sample here is some tenths of a millisecond; the promise of 5 ms leaves room for a busy machine.
SAMPLE_BUDGET_S = 0.005


def whole_sample(collectors: tuple[Collector, ...]) -> Sample:
    sample: Sample = {}
    for collector in collectors:
        values = collector.sample()
        assert not sample.keys() & values.keys(), collector.name
        sample |= values
    return sample


def burn(seconds: float) -> None:
    """Use processor time: ticks of the kernel's accounting have to pass between two samples."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_every_series_of_this_host_is_in_the_catalogue() -> None:
    collectors = host_collectors()
    burn(0.05)
    sample = whole_sample(collectors)
    assert [series for series in sample if entry_of(series) is None] == []
    assert all(type(v) is float and math.isfinite(v) for v in sample.values())


def test_what_every_host_has_is_there() -> None:
    collectors = host_collectors()
    burn(0.05)
    sample = whole_sample(collectors)
    expected = {"cpu.percent", "cpu.percent{cpu=0}", "load.1m", "mem.used_bytes", "mem.total_bytes"}
    expected |= {"fs.used_bytes{mount=/}", "fs.percent{mount=/}", "process.count", "uptime_s"}
    expected |= {"agent.rss_bytes", "agent.cpu_percent"}
    assert expected <= sample.keys()
    assert not [series for series in sample if "interface=lo}" in series]
    assert 0 <= sample["cpu.percent"] <= 100
    assert 0 < sample["mem.used_bytes"] < sample["mem.total_bytes"]
    assert sample["mem.total_bytes"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert sample["process.count"] >= 1
    assert sample["agent.rss_bytes"] > 4_000_000


def test_counters_are_exactly_the_series_that_end_in_total() -> None:
    for entry in CATALOGUE:
        assert (entry.kind == "counter") == entry.base.endswith("_total"), entry.base


def test_counters_never_fall() -> None:
    collectors = host_collectors()
    earlier = whole_sample(collectors)
    later = whole_sample(collectors)
    counters = [series for series in earlier if "_total" in series]
    assert counters
    assert all(later[series] >= earlier[series] for series in counters)
    assert later["uptime_s"] >= earlier["uptime_s"]


def test_processor_use_of_the_agent_itself_shows() -> None:
    collectors = {collector.name: collector for collector in host_collectors()}
    burn(0.05)
    assert collectors["agent"].sample()["agent.cpu_percent"] > 5


def test_a_whole_sample_is_cheap() -> None:
    collectors = host_collectors()
    took = []
    for _ in range(20):
        start = time.perf_counter()
        whole_sample(collectors)
        took.append(time.perf_counter() - start)
    assert statistics.median(took) < SAMPLE_BUDGET_S


class Broken:
    name = "cpu"

    def sample(self) -> Sample:
        raise CollectorError("cpu: not on this machine")


def broken_from_the_start() -> Collector:
    raise RuntimeError("a kernel's surprise")


@pytest.mark.parametrize("broken", [Broken, broken_from_the_start])
def test_a_collector_that_does_not_work_here_is_not_offered(
    broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "CpuCollector", broken)
    names = [collector.name for collector in host_collectors()]
    assert "cpu" not in names
    assert {"memory", "filesystem", "disk", "network", "system", "agent"} <= set(names)


def test_sensors_battery_and_gpus_are_offered_only_where_there_are_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(BatteryCollector, "sample", lambda _: {})
    assert "battery" not in [collector.name for collector in host_collectors()]
    monkeypatch.setattr(BatteryCollector, "sample", lambda _: {"battery.percent": 50.0})
    assert "battery" in [collector.name for collector in host_collectors()]
