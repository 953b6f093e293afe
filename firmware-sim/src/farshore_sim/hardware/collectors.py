"""Simulated collectors: the same names and series as the real ones, from signals.

Each is a function of the machine's seed, its boot and the time. What they share: the processor's
rhythm drives temperatures, traffic, disks and memory, so that one explains the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from farshore_edge.telemetry.collectors.model import Collector, Sample
from farshore_edge.telemetry.collectors.series import series_name

from farshore_sim.hardware.profile import DAY_S, MIB, Profile
from farshore_sim.hardware.signals import Rhythm, noise, quantised, sawtooth

_PAGE_BYTES = 4096
_SECTOR_BYTES = 512
_PACKET_BYTES = 640
_WRITE_BYTES = 24_576
_SECONDS_PER_WRITE = 0.0006
_READ_SHARE = 0.35
_MEMORY_DRIFT_S = 3 * DAY_S
_CLEANED_EVERY_S = 30 * DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What all collectors of one simulated machine are computed from."""

    profile: Profile
    seed: int
    offset: float
    phase: float
    rhythm: Rhythm
    gpu_rhythms: tuple[Rhythm, ...]
    boot_s: float
    now_s: Callable[[], float]

    def instant(self) -> float:
        """The time of a sample. A clock that was set back can't lead to before the boot."""
        return quantised(max(self.now_s(), self.boot_s))

    def busy_s(self, t_s: float) -> float:
        """Seconds of full activity since boot, never falling."""
        return self.rhythm.integral(t_s) - self.rhythm.integral(self.boot_s)


class SimulatedCollector:
    """One kind of resource: a name, and how its sample is computed at a time."""

    __slots__ = ("_compute", "_machine", "name")

    def __init__(
        self, name: str, machine: Machine, compute: Callable[[Machine, float], Sample]
    ) -> None:
        self.name = name
        self._machine = machine
        self._compute = compute

    def sample(self) -> Sample:
        return self._compute(self._machine, self._machine.instant())


def simulated_collectors(machine: Machine) -> tuple[Collector, ...]:
    """The collectors that a host with this hardware would have."""
    kinds: list[tuple[str, Callable[[Machine, float], Sample]]] = [
        ("cpu", _cpu),
        ("memory", _memory),
        ("filesystem", _filesystem),
        ("disk", _disk),
        ("network", _network),
        ("system", _system),
        ("agent", _agent),
        ("temperature", _temperature),
    ]
    if machine.profile.battery is not None:
        kinds.append(("battery", _battery))
    if machine.profile.gpus:
        kinds.append(("gpu", _gpu))
    return tuple(SimulatedCollector(name, machine, compute) for name, compute in kinds)


def _cpu(machine: Machine, t_s: float) -> Sample:
    busy = machine.rhythm.at(t_s)
    grain = noise(machine.seed, b"cpu", t_s)
    # Cores differ from each other most when the machine is neither idle nor full.
    spread = 0.4 * busy * (1 - busy) + 0.01
    sample: Sample = {}
    total = 0.0
    for core in range(machine.profile.cores):
        share = busy + spread * (grain[core % len(grain)] / 127.5 - 1)
        percent = round(100 * min(max(share, 0.0), 1.0), 1)
        sample[series_name("cpu.percent", "cpu", str(core))] = percent
        total += percent
    sample["cpu.percent"] = round(total / machine.profile.cores, 1)
    for base, minutes in (("load.1m", 1), ("load.5m", 5), ("load.15m", 15)):
        average = machine.rhythm.average(t_s, 60.0 * minutes)
        sample[base] = round(1.15 * machine.profile.cores * average, 2)
    return sample


def _memory(machine: Machine, t_s: float) -> Sample:
    total = machine.profile.memory_bytes
    grain = noise(machine.seed, b"memory", t_s)[0] / 255
    drift = 0.12 * sawtooth(t_s, _MEMORY_DRIFT_S, machine.offset)
    working = 0.15 * machine.rhythm.average(t_s, 300.0)
    share = machine.profile.memory_used + drift + working + 0.004 * grain
    used = _whole(total * min(share, 0.97), _PAGE_BYTES)
    swap = machine.profile.swap_bytes
    swap_used = _whole(swap * 0.3 * drift, _PAGE_BYTES)
    sample: Sample = {
        "mem.total_bytes": float(total),
        "mem.available_bytes": total - used,
        "mem.used_bytes": used,
        "mem.percent": round(100 * used / total, 1),
        "swap.total_bytes": float(swap),
        "swap.used_bytes": swap_used,
    }
    if swap:
        sample["swap.percent"] = round(100 * swap_used / swap, 1)
    return sample


def _filesystem(machine: Machine, t_s: float) -> Sample:
    filled = sawtooth(t_s, _CLEANED_EVERY_S, machine.offset)
    sample: Sample = {}
    for fs in machine.profile.filesystems:
        share = fs.used + fs.growth * filled
        used = _whole(fs.total_bytes * share, _PAGE_BYTES)
        sample[series_name("fs.used_bytes", "mount", fs.mount)] = used
        sample[series_name("fs.total_bytes", "mount", fs.mount)] = float(fs.total_bytes)
        sample[series_name("fs.percent", "mount", fs.mount)] = round(100 * used / fs.total_bytes, 1)
        if fs.fstype not in ("vfat", "btrfs"):
            sample[series_name("fs.inodes_percent", "mount", fs.mount)] = round(30 * share, 1)
        sample[series_name("fs.readonly", "mount", fs.mount)] = 0.0
    return sample


def _disk(machine: Machine, t_s: float) -> Sample:
    # Half of the I/O goes on steadily, the rest comes with the load.
    weight = 0.5 * (t_s - machine.boot_s) + machine.busy_s(t_s)
    sample: Sample = {}
    for disk in machine.profile.disks:
        written = disk.write_bytes_s * weight
        writes = math.floor(written / _WRITE_BYTES)
        reads = math.floor(_READ_SHARE * written / _WRITE_BYTES)
        values = (
            ("disk.read_bytes_total", _whole(_READ_SHARE * written, _SECTOR_BYTES)),
            ("disk.write_bytes_total", _whole(written, _SECTOR_BYTES)),
            ("disk.read_ops_total", float(reads)),
            ("disk.write_ops_total", float(writes)),
            ("disk.busy_seconds_total", round((reads + writes) * _SECONDS_PER_WRITE, 3)),
        )
        for base, value in values:
            sample[series_name(base, "device", disk.device)] = value
    return sample


def _network(machine: Machine, t_s: float) -> Sample:
    elapsed = t_s - machine.boot_s
    weight = 0.5 * elapsed + machine.busy_s(t_s)
    sample: Sample = {}
    for interface in machine.profile.interfaces:
        received = interface.receive_bytes_s * weight
        sent = interface.transmit_bytes_s * weight
        errors = math.floor(interface.errors_s * weight)
        values = (
            ("net.receive_bytes_total", _whole(received, 1)),
            ("net.transmit_bytes_total", _whole(sent, 1)),
            ("net.receive_packets_total", _whole(received / _PACKET_BYTES, 1)),
            ("net.transmit_packets_total", _whole(sent / _PACKET_BYTES, 1)),
            ("net.receive_errors_total", float(errors)),
            ("net.transmit_errors_total", float(errors // 7)),
            ("net.receive_drops_total", float(errors // 2)),
            ("net.transmit_drops_total", 0.0),
        )
        for base, value in values:
            sample[series_name(base, "interface", interface.name)] = value
    return sample


def _system(machine: Machine, t_s: float) -> Sample:
    grain = noise(machine.seed, b"system", t_s)[0] / 255
    processes = machine.profile.processes * (1 + 0.1 * machine.rhythm.at(t_s)) + 3 * grain
    return {
        "process.count": float(math.floor(processes)),
        "uptime_s": round(t_s - machine.boot_s, 2),
    }


def _agent(machine: Machine, t_s: float) -> Sample:
    grain = noise(machine.seed, b"agent", t_s)
    drift = sawtooth(t_s, DAY_S, machine.offset)
    return {
        "agent.rss_bytes": _whole((33 + 2 * drift + grain[0] / 510) * MIB, _PAGE_BYTES),
        "agent.cpu_percent": round(0.3 + 0.4 * machine.rhythm.at(t_s) + grain[1] / 1275, 2),
    }


def _temperature(machine: Machine, t_s: float) -> Sample:
    warmth = machine.rhythm.average(t_s, 90.0)  # metal takes its time
    ambient = 3.0 * math.sin(2 * math.pi * (t_s / DAY_S + machine.phase - 0.1))
    grain = noise(machine.seed, b"temp", t_s)
    return {
        series_name("temp.celsius", "sensor", sensor.name): round(
            sensor.idle_celsius
            + ambient
            + sensor.rise_celsius * warmth
            + 0.4 * (grain[index] / 127.5 - 1),
            1,
        )
        for index, sensor in enumerate(machine.profile.sensors)
    }


def _battery(machine: Machine, t_s: float) -> Sample:
    battery = machine.profile.battery
    if battery is None:
        return {}
    # In step with the load's wave: its upper half is the work that empties the battery.
    centre = 0.25 - battery.discharging / 2
    place = sawtooth(t_s, machine.profile.load.period_s, machine.phase - centre)
    span = battery.full_percent - battery.low_percent
    plugged = place >= battery.discharging
    if plugged:
        level = battery.low_percent + span * (place - battery.discharging) / (
            1 - battery.discharging
        )
    else:
        level = battery.full_percent - span * place / battery.discharging
    return {"battery.percent": round(level, 1), "battery.plugged": float(plugged)}


def _gpu(machine: Machine, t_s: float) -> Sample:
    grain = noise(machine.seed, b"gpu", t_s)
    sample: Sample = {}
    for index, (gpu, rhythm) in enumerate(
        zip(machine.profile.gpus, machine.gpu_rhythms, strict=True)
    ):
        busy = min(max(rhythm.at(t_s) + 0.02 * (grain[index] / 127.5 - 1), 0.0), 1.0)
        warmth = rhythm.average(t_s, 120.0)
        loaded = 0.08 + 0.7 * rhythm.average(t_s, 600.0)
        values = (
            ("gpu.percent", float(round(100 * busy))),
            ("gpu.mem_used_bytes", _whole(gpu.memory_bytes * min(loaded, 0.98), MIB)),
            ("gpu.mem_total_bytes", float(gpu.memory_bytes)),
            ("gpu.temp_celsius", float(round(34 + 40 * warmth))),
            (
                "gpu.power_watts",
                round(gpu.idle_watts + (gpu.full_watts - gpu.idle_watts) * busy, 1),
            ),
        )
        for base, value in values:
            sample[series_name(base, "gpu", str(index))] = value
    return sample


def _whole(value: float, unit: int) -> float:
    """Whole units, in the way that the kernel counts them."""
    return float(math.floor(value / unit) * unit)
