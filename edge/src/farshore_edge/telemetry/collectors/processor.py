"""How busy the processor is: total, each core, and the load averages."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from farshore_edge.errors import CollectorError
from farshore_edge.telemetry.collectors.model import Sample
from farshore_edge.telemetry.collectors.series import DeviceLabels, series_name

CORES_MAX = 256

CoreTimes = Sequence[Any]
"""One named tuple of cumulative seconds for each core that is online."""


def _read_core_times() -> CoreTimes:
    times: CoreTimes = psutil.cpu_times(percpu=True)
    return times


class CpuCollector:
    """Percentages cover the time since the previous sample, so the first sample has none.

    psutil can do the same subtraction, but keeps its previous reading for each thread in the
    module: a sampler that changes threads would get wrong values from it.
    """

    name = "cpu"

    def __init__(
        self,
        *,
        core_times: Callable[[], CoreTimes] = _read_core_times,
        load_averages: Callable[[], tuple[float, float, float]] = os.getloadavg,
    ) -> None:
        self._core_times = core_times
        self._load_averages = load_averages
        self._labels = DeviceLabels(self.name, CORES_MAX)
        self._previous: list[tuple[float, float]] = []

    def sample(self) -> Sample:
        try:
            current = [_busy_and_total(times) for times in self._core_times()]
            loads = self._load_averages()
        except (OSError, ValueError) as exc:
            raise CollectorError(f"{self.name}: {exc}") from exc
        sample = self._percentages(current)
        sample |= zip(("load.1m", "load.5m", "load.15m"), loads, strict=True)
        return sample

    def _percentages(self, current: list[tuple[float, float]]) -> Sample:
        previous, self._previous = self._previous, current
        sample: Sample = {}
        if len(previous) != len(current):
            return sample  # the first reading, or cores went on or off line
        labels = self._labels.admit([str(index) for index in range(len(current))])
        busy_sum = elapsed_sum = 0.0
        for index, (before, after) in enumerate(zip(previous, current, strict=True)):
            # Counters of idle and iowait may step back a little; that is no negative load.
            elapsed = max(after[1] - before[1], 0.0)
            busy = min(max(after[0] - before[0], 0.0), elapsed)
            busy_sum += busy
            elapsed_sum += elapsed
            label = labels.get(str(index))
            if elapsed and label is not None:
                sample[series_name("cpu.percent", "cpu", label)] = round(100 * busy / elapsed, 1)
        if elapsed_sum:
            sample["cpu.percent"] = round(100 * busy_sum / elapsed_sum, 1)
        self._labels.account(sample)
        return sample


def _busy_and_total(times: Any) -> tuple[float, float]:
    # The guest times are contained in user and nice already.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total
