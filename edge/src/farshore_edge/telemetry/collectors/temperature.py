"""Temperatures from the kernel's hardware monitors, or its thermal zones where there are none."""

from __future__ import annotations

import os
from pathlib import Path

from farshore_edge.errors import CollectorError
from farshore_edge.telemetry.collectors.model import Sample
from farshore_edge.telemetry.collectors.series import DeviceLabels, series_name

SENSORS_MAX = 64
PLAUSIBLE_CELSIUS = (-100.0, 250.0)
"""An unconnected sensor reads as an extreme (-273, 65261); such a value is no temperature."""


class TemperatureCollector:
    """Looks for sensors again only when a chip came or went: looking costs more than reading."""

    name = "temperature"

    def __init__(self, root: Path = Path("/")) -> None:
        self._hwmon = root / "sys/class/hwmon"
        self._zones = root / "sys/class/thermal"
        self._chips: tuple[list[str], list[str]] | None = None
        self._inputs: dict[str, Path] = {}
        self._labels = DeviceLabels(self.name, SENSORS_MAX)

    def sample(self) -> Sample:
        chips = (_entries(self._hwmon, "hwmon"), _entries(self._zones, "thermal_zone"))
        if chips != self._chips:
            self._inputs = self._find_inputs(*chips)
            self._chips = chips
        sample: Sample = {}
        unreadable = 0
        for sensor, label in self._labels.admit(self._inputs).items():
            try:
                celsius = int(self._inputs[sensor].read_bytes()) / 1000
            except (OSError, ValueError):
                unreadable += 1
                continue
            if PLAUSIBLE_CELSIUS[0] < celsius < PLAUSIBLE_CELSIUS[1]:
                sample[series_name("temp.celsius", "sensor", label)] = celsius
        if unreadable and unreadable == len(self._inputs):
            self._chips = None
            raise CollectorError(f"{self.name}: none of {unreadable} sensors could be read")
        self._labels.account(sample, unreadable)
        return sample

    def _find_inputs(self, chips: list[str], zones: list[str]) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for chip in chips:
            folder = self._hwmon / chip
            chip_name = _first_line(folder / "name") or chip
            for entry in _entries(folder, "temp"):
                if entry.endswith("_input"):
                    channel = entry.removesuffix("_input")
                    label = _first_line(folder / f"{channel}_label") or channel
                    _add_unique(found, f"{chip_name}/{label.replace(' ', '_')}", folder / entry)
        if not found:
            for zone in zones:
                folder = self._zones / zone
                _add_unique(found, _first_line(folder / "type") or zone, folder / "temp")
        return found


def _add_unique(found: dict[str, Path], sensor: str, path: Path) -> None:
    """Two drives have the same chip and label: the second is called `nvme/Composite.2`."""
    name, count = sensor, 1
    while name in found:
        count += 1
        name = f"{sensor}.{count}"
    found[name] = path


def _entries(folder: Path, prefix: str) -> list[str]:
    try:
        names = [name for name in os.listdir(folder) if name.startswith(prefix)]
    except OSError:
        return []
    return sorted(names, key=lambda name: (len(name), name))


def _first_line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip().partition("\n")[0]
    except OSError:
        return ""
