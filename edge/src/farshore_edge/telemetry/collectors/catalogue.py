"""Every series that a node reports of its host, with its unit and its meaning.

The table is for people, documentation and tests. Collectors do not read it, so that it costs the
agent nothing; a test holds the two together. `docs/telemetry.md` is its reference page.
"""

# ruff: noqa: E501 - a table is read by its rows, one a line
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from farshore_edge.telemetry.collectors.series import split_series

Kind = Literal["gauge", "counter"]


@dataclass(frozen=True, slots=True)
class SeriesEntry:
    """`otel` is the semantic convention's metric that says the same, "" where there is none.

    Units are UCUM's, as there. Where the convention has a fraction (unit 1), a percentage here is
    a hundred times that.
    """

    base: str
    label: str | None
    unit: str
    kind: Kind
    otel: str
    description: str

    @property
    def pattern(self) -> str:
        return self.base if self.label is None else f"{self.base}{{{self.label}=…}}"


# fmt: off
CATALOGUE: tuple[SeriesEntry, ...] = (
    SeriesEntry("cpu.percent", None, "%", "gauge", "system.cpu.utilization", "all cores together, since the previous sample"),
    SeriesEntry("cpu.percent", "cpu", "%", "gauge", "system.cpu.utilization", "one core, numbered among those that are online"),
    SeriesEntry("load.1m", None, "{thread}", "gauge", "", "threads that ran or wanted to, averaged over 1 minute"),
    SeriesEntry("load.5m", None, "{thread}", "gauge", "", "the same over 5 minutes"),
    SeriesEntry("load.15m", None, "{thread}", "gauge", "", "the same over 15 minutes"),
    SeriesEntry("mem.total_bytes", None, "By", "gauge", "system.memory.limit", "main memory that the kernel manages"),
    SeriesEntry("mem.available_bytes", None, "By", "gauge", "system.memory.linux.available", "what programs can still get without swapping"),
    SeriesEntry("mem.used_bytes", None, "By", "gauge", "system.memory.usage", "total less available"),
    SeriesEntry("mem.percent", None, "%", "gauge", "system.memory.utilization", "used of total"),
    SeriesEntry("swap.total_bytes", None, "By", "gauge", "", "swap space"),
    SeriesEntry("swap.used_bytes", None, "By", "gauge", "system.paging.usage", "swap space in use"),
    SeriesEntry("swap.percent", None, "%", "gauge", "system.paging.utilization", "used of total; absent without swap"),
    SeriesEntry("fs.used_bytes", "mount", "By", "gauge", "system.filesystem.usage", "space in use"),
    SeriesEntry("fs.total_bytes", "mount", "By", "gauge", "system.filesystem.limit", "size of the file system"),
    SeriesEntry("fs.percent", "mount", "%", "gauge", "system.filesystem.utilization", "used of what users may use, as df counts"),
    SeriesEntry("fs.inodes_percent", "mount", "%", "gauge", "", "inodes in use; absent where they are not limited"),
    SeriesEntry("fs.readonly", "mount", "1", "gauge", "", "1 while mounted read-only, as a failing disk often is"),
    SeriesEntry("disk.read_bytes_total", "device", "By", "counter", "system.disk.io", "bytes read"),
    SeriesEntry("disk.write_bytes_total", "device", "By", "counter", "system.disk.io", "bytes written"),
    SeriesEntry("disk.read_ops_total", "device", "{operation}", "counter", "system.disk.operations", "reads completed"),
    SeriesEntry("disk.write_ops_total", "device", "{operation}", "counter", "system.disk.operations", "writes completed"),
    SeriesEntry("disk.busy_seconds_total", "device", "s", "counter", "system.disk.io_time", "time with at least one request under way"),
    SeriesEntry("net.receive_bytes_total", "interface", "By", "counter", "system.network.io", "bytes received"),
    SeriesEntry("net.transmit_bytes_total", "interface", "By", "counter", "system.network.io", "bytes sent"),
    SeriesEntry("net.receive_packets_total", "interface", "{packet}", "counter", "system.network.packet.count", "packets received"),
    SeriesEntry("net.transmit_packets_total", "interface", "{packet}", "counter", "system.network.packet.count", "packets sent"),
    SeriesEntry("net.receive_errors_total", "interface", "{error}", "counter", "system.network.errors", "packets received broken"),
    SeriesEntry("net.transmit_errors_total", "interface", "{error}", "counter", "system.network.errors", "packets that could not be sent"),
    SeriesEntry("net.receive_drops_total", "interface", "{packet}", "counter", "system.network.packet.dropped", "good packets dropped on receipt"),
    SeriesEntry("net.transmit_drops_total", "interface", "{packet}", "counter", "system.network.packet.dropped", "good packets dropped before sending"),
    SeriesEntry("process.count", None, "{process}", "gauge", "system.process.count", "processes in all states"),
    SeriesEntry("uptime_s", None, "s", "gauge", "system.uptime", "since the kernel started, suspended time included"),
    SeriesEntry("agent.rss_bytes", None, "By", "gauge", "process.memory.usage", "resident memory of the agent"),
    SeriesEntry("agent.cpu_percent", None, "%", "gauge", "process.cpu.utilization", "of one core, used by the agent since the previous sample"),
    SeriesEntry("temp.celsius", "sensor", "Cel", "gauge", "hw.temperature", "one sensor, named chip/label"),
    SeriesEntry("battery.percent", None, "%", "gauge", "hw.battery.charge", "charge left"),
    SeriesEntry("battery.plugged", None, "1", "gauge", "", "1 on external power, 0 on battery"),
    SeriesEntry("gpu.percent", "gpu", "%", "gauge", "hw.gpu.utilization", "time with work on the GPU"),
    SeriesEntry("gpu.mem_used_bytes", "gpu", "By", "gauge", "hw.gpu.memory.usage", "GPU memory in use"),
    SeriesEntry("gpu.mem_total_bytes", "gpu", "By", "gauge", "hw.gpu.memory.limit", "GPU memory"),
    SeriesEntry("gpu.temp_celsius", "gpu", "Cel", "gauge", "hw.temperature", "core temperature of the GPU"),
    SeriesEntry("gpu.power_watts", "gpu", "W", "gauge", "hw.power", "power drawn by the board"),
    SeriesEntry("task.cpu.cores", "task", "{cpu}", "gauge", "", "processor that an instance used, in cores, between its last two readings"),
    SeriesEntry("task.mem.bytes", "task", "By", "gauge", "", "memory that an instance held at its last reading"),
    SeriesEntry("telemetry.devices_left_out", "collector", "1", "gauge", "", "devices beyond the collector's limit; absent when none"),
    SeriesEntry("telemetry.devices_unreadable", "collector", "1", "gauge", "", "devices that failed in this sample; absent when none"),
)
# fmt: on

_ENTRIES = {(entry.base, entry.label): entry for entry in CATALOGUE}


def entry_of(series: str) -> SeriesEntry | None:
    """The entry that describes a series, or None for a name that is not in the catalogue."""
    base, label, _ = split_series(series)
    return _ENTRIES.get((base, label))
