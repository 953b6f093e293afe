"""What a profile of simulated hardware consists of. The profiles themselves are in `profiles`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
HOUR_S, DAY_S = 3600.0, 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How busy the machine is: shares of its processor that add up to at most 1.

    `base` is always there, `wave` comes and goes with the period, `burst` in irregular spells.
    """

    base: float
    wave: float
    burst: float
    period_s: float = DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    device: str
    size_bytes: int
    model: str
    write_bytes_s: float
    rotational: bool = False
    removable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Filesystem:
    """Fills from `used` to `used + growth` (shares of its size) in a month, is cleaned, repeats."""

    mount: str
    fstype: str
    device: str
    total_bytes: int
    used: float
    growth: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    name: str
    kind: str
    driver: str
    receive_bytes_s: float
    transmit_bytes_s: float
    errors_s: float = 0.0
    speed_mbps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """Ambient temperature plus a rise that follows the load."""

    name: str
    idle_celsius: float
    rise_celsius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Battery:
    """Works off the charge between the two levels during most of each period, then charges."""

    full_percent: float
    low_percent: float
    discharging: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    name: str
    memory_bytes: int
    idle_watts: float
    full_watts: float
    load: Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """`facts` is the part of the tree that is the same for each machine of the profile."""

    cores: int
    load: Load
    memory_bytes: int
    memory_used: float
    swap_bytes: int
    processes: int
    disks: tuple[Disk, ...]
    filesystems: tuple[Filesystem, ...]
    interfaces: tuple[Interface, ...]
    sensors: tuple[Sensor, ...]
    facts: Mapping[str, Any]
    battery: Battery | None = None
    gpus: tuple[Gpu, ...] = ()
