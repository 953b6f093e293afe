"""NVIDIA GPUs by way of a stand-in for the management library."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from farshore_edge.errors import CollectorError
from farshore_edge.facts.host import host_facts
from farshore_edge.telemetry.collectors.catalogue import entry_of
from farshore_edge.telemetry.collectors.gpu import GpuCollector
from farshore_edge.telemetry.collectors.nvml import load_nvml


class FakeNvmlError(Exception):
    """As the library raises it."""


class FakeNvml:
    """Two boards; the second does not know its power."""

    NVMLError: type[Exception] = FakeNvmlError

    def __init__(self) -> None:
        self.lost: set[int] = set()
        self.starts = 0

    def nvmlInit(self) -> None:
        self.starts += 1

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def _check(self, handle: int) -> None:
        if handle in self.lost:
            raise self.NVMLError("GPU is lost")

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        self._check(handle)
        return SimpleNamespace(gpu=40 + handle, memory=3)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        self._check(handle)
        return SimpleNamespace(used=1000, total=24_000_000_000, free=0)

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        self._check(handle)
        return 61

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        self._check(handle)
        if handle == 1:
            raise self.NVMLError("Not Supported")
        return 53_500

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return b"NVIDIA L4"

    def nvmlSystemGetDriverVersion(self) -> str:
        return "570.86.10"


def test_what_a_board_does_not_know_is_absent() -> None:
    sample = GpuCollector(FakeNvml()).sample()
    assert sample["gpu.percent{gpu=0}"] == 40.0
    assert sample["gpu.mem_used_bytes{gpu=1}"] == 1000.0
    assert sample["gpu.temp_celsius{gpu=1}"] == 61.0
    assert sample["gpu.power_watts{gpu=0}"] == 53.5
    assert "gpu.power_watts{gpu=1}" not in sample
    assert all(entry_of(series) for series in sample)


def test_one_lost_board_does_not_take_the_other_down() -> None:
    nvml = FakeNvml()
    nvml.lost = {0}
    sample = GpuCollector(nvml).sample()
    assert "gpu.percent{gpu=1}" in sample
    assert "gpu.percent{gpu=0}" not in sample
    assert sample["telemetry.devices_unreadable{collector=gpu}"] == 1.0


def test_when_all_are_lost_that_is_an_error_and_the_library_is_started_again() -> None:
    nvml = FakeNvml()
    collector = GpuCollector(nvml)
    nvml.lost = {0, 1}
    with pytest.raises(CollectorError, match="none of 2 GPUs"):
        collector.sample()
    nvml.lost = set()
    assert "gpu.percent{gpu=0}" in collector.sample()
    assert nvml.starts == 1


def test_the_binding_is_imported_only_where_the_device_node_is(
    empty_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    assert load_nvml(empty_root) is None
    assert fake.starts == 0
    (empty_root / "dev").mkdir()
    (empty_root / "dev/nvidiactl").touch()
    loaded: object = load_nvml(empty_root)
    assert loaded is fake
    assert fake.starts == 1


def test_a_gpu_without_the_binding_is_no_error(
    empty_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_root / "dev").mkdir()
    (empty_root / "dev/nvidiactl").touch()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert load_nvml(empty_root) is None


def test_facts_name_nvidia_boards_by_the_library_and_others_by_the_bus(
    gpu_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    (gpu_root / "dev").mkdir()
    (gpu_root / "dev/nvidiactl").touch()
    named = {
        "vendor": "nvidia",
        "name": "NVIDIA L4",
        "memory_bytes": 24_000_000_000,
        "driver": "nvidia",
        "driver_version": "570.86.10",
    }
    other = {"vendor": "amd", "pci_device": "0x744c", "driver": "amdgpu"}
    assert host_facts(gpu_root)["gpus"] == [named, named, other]
