"""Cumulative traffic of the network interfaces. Addresses and speeds are facts, not telemetry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import psutil

from farshore_edge.errors import CollectorError
from farshore_edge.telemetry.collectors.model import Sample
from farshore_edge.telemetry.collectors.series import DeviceLabels, series_name

INTERFACES_MAX = 64
PER_CONTAINER = ("veth", "cali", "lxc")
"""Interfaces that come and go with containers under random names: each would leave a set of dead
series behind, and their traffic is counted again on the bridge or the uplink."""

_SERIES = (
    ("net.receive_bytes_total", "bytes_recv"),
    ("net.transmit_bytes_total", "bytes_sent"),
    ("net.receive_packets_total", "packets_recv"),
    ("net.transmit_packets_total", "packets_sent"),
    ("net.receive_errors_total", "errin"),
    ("net.transmit_errors_total", "errout"),
    ("net.receive_drops_total", "dropin"),
    ("net.transmit_drops_total", "dropout"),
)


def _read_counters() -> Mapping[str, Any]:
    counters: Mapping[str, Any] = psutil.net_io_counters(pernic=True, nowrap=False)
    return counters


def is_reported(interface: str) -> bool:
    """Whether telemetry and facts speak of this interface."""
    return interface != "lo" and not interface.startswith(PER_CONTAINER)


class NetworkCollector:
    name = "network"

    def __init__(self, *, counters: Callable[[], Mapping[str, Any]] = _read_counters) -> None:
        self._counters = counters
        self._labels = DeviceLabels(self.name, INTERFACES_MAX)

    def sample(self) -> Sample:
        try:
            counters = self._counters()
        except (OSError, ValueError, AssertionError) as exc:
            raise CollectorError(f"{self.name}: {exc}") from exc
        sample: Sample = {}
        interfaces = [interface for interface in counters if is_reported(interface)]
        for interface, label in self._labels.admit(interfaces).items():
            done = counters[interface]
            for base, field in _SERIES:
                sample[series_name(base, "interface", label)] = float(getattr(done, field))
        self._labels.account(sample)
        return sample
