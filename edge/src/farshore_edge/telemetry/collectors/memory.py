"""Main memory and swap of the host; a container's own limit is not its business."""

from __future__ import annotations

from pathlib import Path

from farshore_edge.errors import CollectorError
from farshore_edge.telemetry.collectors.model import Sample


class MemoryCollector:
    """One read of /proc/meminfo serves memory and swap."""

    name = "memory"

    def __init__(self, root: Path = Path("/")) -> None:
        self._path = root / "proc/meminfo"

    def sample(self) -> Sample:
        try:
            fields = parse_meminfo(self._path.read_text())
        except (OSError, ValueError) as exc:
            raise CollectorError(f"{self.name}: {exc}") from exc
        total = fields.get("MemTotal")
        if not total:
            raise CollectorError(f"{self.name}: no MemTotal in /proc/meminfo")
        sample: Sample = {"mem.total_bytes": float(total)}
        available = fields.get("MemAvailable")
        if available is not None:
            used = max(total - available, 0)
            sample["mem.available_bytes"] = float(available)
            sample["mem.used_bytes"] = float(used)
            sample["mem.percent"] = round(100 * used / total, 1)
        swap_total, swap_free = fields.get("SwapTotal"), fields.get("SwapFree")
        if swap_total is not None and swap_free is not None:
            swap_used = max(swap_total - swap_free, 0)
            sample["swap.total_bytes"] = float(swap_total)
            sample["swap.used_bytes"] = float(swap_used)
            if swap_total:
                sample["swap.percent"] = round(100 * swap_used / swap_total, 1)
        return sample


def parse_meminfo(text: str) -> dict[str, int]:
    """The fields of /proc/meminfo that have the unit kB, in bytes."""
    fields = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        if rest.endswith("kB"):
            fields[key] = int(rest[:-2]) * 1024
    return fields
