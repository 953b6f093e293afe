"""NVIDIA GPUs. Other makes have no collector yet; facts list them all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from farshore_edge.errors import CollectorError
from farshore_edge.telemetry.collectors.model import Sample
from farshore_edge.telemetry.collectors.nvml import Nvml
from farshore_edge.telemetry.collectors.series import DeviceLabels, series_name

GPUS_MAX = 64
_GPU_CORE_SENSOR = 0  # NVML_TEMPERATURE_GPU


class GpuCollector:
    """Each value is asked for by itself: many boards do not know their power, for one."""

    name = "gpu"

    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        self._labels = DeviceLabels(self.name, GPUS_MAX)
        self._lost = False

    def sample(self) -> Sample:
        nvml = self._nvml
        try:
            if self._lost:
                nvml.nvmlInit()  # the driver may have been reloaded under us
            count = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError as exc:
            self._lost = True
            raise CollectorError(f"{self.name}: {exc}") from exc
        sample: Sample = {}
        unreadable = 0
        for index, label in self._labels.admit([str(i) for i in range(count)]).items():
            try:
                values = self._read(nvml.nvmlDeviceGetHandleByIndex(int(index)))
            except nvml.NVMLError:
                values = {}
            unreadable += not values
            for base, value in values.items():
                sample[series_name(base, "gpu", label)] = value
        self._lost = bool(count) and unreadable == count
        if self._lost:
            raise CollectorError(f"{self.name}: none of {count} GPUs could be read")
        self._labels.account(sample, unreadable)
        return sample

    def _read(self, handle: Any) -> Sample:
        nvml = self._nvml
        values: Sample = {}

        def attempt(read: Callable[[], Sample]) -> None:
            try:
                values.update(read())
            except nvml.NVMLError:
                return

        def memory() -> Sample:
            info = nvml.nvmlDeviceGetMemoryInfo(handle)
            return {
                "gpu.mem_used_bytes": float(info.used),
                "gpu.mem_total_bytes": float(info.total),
            }

        attempt(lambda: {"gpu.percent": float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)})
        attempt(memory)
        attempt(
            lambda: {
                "gpu.temp_celsius": float(nvml.nvmlDeviceGetTemperature(handle, _GPU_CORE_SENSOR))
            }
        )
        attempt(lambda: {"gpu.power_watts": nvml.nvmlDeviceGetPowerUsage(handle) / 1000})
        return values
