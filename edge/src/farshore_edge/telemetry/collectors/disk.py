"""Cumulative I/O of the whole disks. Partitions, loop and memory devices are left to others."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from farshore_edge.errors import CollectorError
from farshore_edge.telemetry.collectors.model import Sample
from farshore_edge.telemetry.collectors.series import DeviceLabels, series_name

DISKS_MAX = 64
NOT_DISKS = ("loop", "ram", "zram", "sr", "fd")


def _read_counters() -> Mapping[str, Any]:
    # Raw counters: psutil's own mending of wrapped ones lasts as long as the process at best,
    # and a reader has to treat a counter that fell as restarted anyway.
    counters: Mapping[str, Any] = psutil.disk_io_counters(perdisk=True, nowrap=False)
    return counters


def whole_disks(root: Path = Path("/")) -> frozenset[str] | None:
    """The block devices that are not partitions; None where the kernel does not tell."""
    try:
        return frozenset(os.listdir(root / "sys/block"))
    except OSError:
        return None


class DiskCollector:
    name = "disk"

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        counters: Callable[[], Mapping[str, Any]] = _read_counters,
    ) -> None:
        self._root = root
        self._counters = counters
        self._labels = DeviceLabels(self.name, DISKS_MAX)

    def sample(self) -> Sample:
        try:
            counters = self._counters()
        except (OSError, ValueError, NotImplementedError) as exc:
            raise CollectorError(f"{self.name}: {exc}") from exc
        whole = whole_disks(self._root)
        disks = [
            disk
            for disk in counters
            if not disk.startswith(NOT_DISKS) and (whole is None or disk in whole)
        ]
        sample: Sample = {}
        for disk, label in self._labels.admit(disks).items():
            done = counters[disk]
            values = (
                ("disk.read_bytes_total", done.read_bytes),
                ("disk.write_bytes_total", done.write_bytes),
                ("disk.read_ops_total", done.read_count),
                ("disk.write_ops_total", done.write_count),
                ("disk.busy_seconds_total", done.busy_time / 1000),
            )
            for base, value in values:
                sample[series_name(base, "device", label)] = float(value)
        self._labels.account(sample)
        return sample
