"""The collectors of the machine that the agent runs on."""

from __future__ import annotations

import logging
from collections.abc import Callable

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
    interfaces) and goes where they can't (sensors, battery, GPUs).
    """
    everywhere: tuple[Callable[[], Collector], ...] = (
        CpuCollector,
        MemoryCollector,
        FilesystemCollector,
        DiskCollector,
        NetworkCollector,
        SystemCollector,
        AgentCollector,
    )
    somewhere: tuple[Callable[[], Collector | None], ...] = (
        TemperatureCollector,
        BatteryCollector,
        _gpu_collector,
    )
    found = [_working(make, needs_devices=False) for make in everywhere]
    found += [_working(make, needs_devices=True) for make in somewhere]
    return tuple(collector for collector in found if collector is not None)


def _gpu_collector() -> Collector | None:
    nvml = load_nvml()
    if nvml is None:
        return None
    from farshore_edge.telemetry.collectors.gpu import GpuCollector

    return GpuCollector(nvml)


def _working(make: Callable[[], Collector | None], *, needs_devices: bool) -> Collector | None:
    """The collector, or None when it can't work here."""
    try:
        collector = make()
        if collector is None:
            return None
        sample = collector.sample()
    except Exception as exc:  # a kernel may surprise any reader; the agent has to start
        _log.warning("collector does not work here", extra={"error": str(exc)})
        return None
    return None if needs_devices and not sample else collector
