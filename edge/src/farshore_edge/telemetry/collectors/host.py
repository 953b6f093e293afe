"""The collectors of the machine that the agent runs on."""

from __future__ import annotations

import logging
from pathlib import Path

from farshore_edge.errors import CollectorError
from farshore_edge.telemetry.collectors.battery import BatteryCollector
from farshore_edge.telemetry.collectors.disk import DiskCollector
from farshore_edge.telemetry.collectors.filesystem import FilesystemCollector
from farshore_edge.telemetry.collectors.memory import MemoryCollector
from farshore_edge.telemetry.collectors.model import Collector
from farshore_edge.telemetry.collectors.network import NetworkCollector
from farshore_edge.telemetry.collectors.nvml import load_nvml
from farshore_edge.telemetry.collectors.processor import CpuCollector
from farshore_edge.telemetry.collectors.system import AgentCollector, SystemCollector
from farshore_edge.telemetry.collectors.temperature import TemperatureCollector

_log = logging.getLogger(__name__)


def host_collectors() -> tuple[Collector, ...]:
    """The collectors that work on this machine, each sampled once to find out.

    That first sample also gives the processor's collector the reading that its next one is
    compared with. A collector without devices stays where devices may be plugged in (disks,
    interfaces) and goes where they can't (sensors, battery).
    """
    everywhere: list[Collector] = [
        CpuCollector(),
        MemoryCollector(),
        FilesystemCollector(),
        DiskCollector(),
        NetworkCollector(),
        SystemCollector(),
        AgentCollector(),
    ]
    somewhere: list[Collector] = [TemperatureCollector(), BatteryCollector(), *_gpu_collectors()]
    working = [collector for collector in everywhere if _probe(collector) is not None]
    working += [collector for collector in somewhere if _probe(collector)]
    return tuple(working)


def _gpu_collectors() -> list[Collector]:
    nvml = load_nvml(Path("/"))
    if nvml is None:
        return []
    from farshore_edge.telemetry.collectors.gpu import GpuCollector

    return [GpuCollector(nvml)]


def _probe(collector: Collector) -> int | None:
    """How many series the collector has now, or None when it can't work here."""
    try:
        return len(collector.sample())
    except CollectorError as exc:
        _log.info(
            "collector does not work here",
            extra={"collector": collector.name, "error": str(exc)},
        )
        return None
