"""Sizes: memory, swap, disks and file systems. How full they are is telemetry."""

from __future__ import annotations

from pathlib import Path

from farshore_edge.facts.tree import entries, known, read_file, read_int, read_text
from farshore_edge.telemetry.collectors.memory import parse_meminfo
from farshore_edge.telemetry.collectors.mounts import measurable_mounts, parse_mounts

DISKS_MAX = 64
FILE_SYSTEMS_MAX = 64
_VIRTUAL_DISKS = ("loop", "ram", "zram", "sr", "fd", "dm-", "md", "nbd")
_SECTOR_BYTES = 512  # the unit of /sys/block/*/size, whatever the disk's own sectors are


def memory_facts(root: Path) -> dict[str, object]:
    return known(total_bytes=parse_meminfo(read_file(root / "proc/meminfo")).get("MemTotal"))


def swap_facts(root: Path) -> dict[str, object]:
    return known(total_bytes=parse_meminfo(read_file(root / "proc/meminfo")).get("SwapTotal"))


def disk_facts(root: Path) -> list[dict[str, object]]:
    """The physical (or paravirtual) disks that have a medium."""
    disks = []
    for device in entries(root / "sys/block"):
        folder = root / "sys/block" / device
        sectors = read_int(folder / "size")
        if device.startswith(_VIRTUAL_DISKS) or not sectors:
            continue
        rotational = read_int(folder / "queue/rotational")
        disks.append(
            known(
                device=device,
                size_bytes=sectors * _SECTOR_BYTES,
                # Memory cards have a name instead of a model.
                model=read_text(folder / "device/model") or read_text(folder / "device/name"),
                rotational=None if rotational is None else bool(rotational),
                removable=bool(read_int(folder / "removable")),
            )
        )
    return disks[:DISKS_MAX]


def filesystem_facts(root: Path) -> list[dict[str, object]]:
    mounts = measurable_mounts(parse_mounts(read_file(root / "proc/self/mounts")))
    # A container's single mounted files (/etc/hosts) are no file systems.
    folders = [mount for mount in mounts if (root / mount.point.lstrip("/")).is_dir()]
    return [
        known(mount=mount.point, type=mount.fstype, device=mount.device)
        for mount in folders[:FILE_SYSTEMS_MAX]
    ]
