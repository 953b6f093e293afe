"""The charge of the machine's (first) battery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil

from farshore_edge.errors import CollectorError
from farshore_edge.telemetry.collectors.model import Sample


class BatteryCollector:
    name = "battery"

    def __init__(self, *, battery: Callable[[], Any] = psutil.sensors_battery) -> None:
        self._battery = battery

    def sample(self) -> Sample:
        try:
            state = self._battery()
        except FileNotFoundError:
            return {}  # a kernel without power supplies at all
        except (OSError, ValueError, TypeError) as exc:
            raise CollectorError(f"{self.name}: {exc}") from exc
        if state is None:
            return {}
        sample: Sample = {"battery.percent": round(float(state.percent), 1)}
        if state.power_plugged is not None:
            sample["battery.plugged"] = float(state.power_plugged)
        return sample
