"""The machine as a whole (processes, uptime) and what the agent itself costs it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from farshore_edge.errors import CollectorError
from farshore_edge.telemetry.collectors.model import Sample


class SystemCollector:
    name = "system"

    def __init__(self, root: Path = Path("/")) -> None:
        self._proc = root / "proc"

    def sample(self) -> Sample:
        try:
            processes = sum(map(str.isdigit, os.listdir(self._proc)))
            uptime = float((self._proc / "uptime").read_bytes().split()[0])
        except (OSError, ValueError, IndexError) as exc:
            raise CollectorError(f"{self.name}: {exc}") from exc
        return {"process.count": float(processes), "uptime_s": uptime}


class AgentCollector:
    """The agent's own memory and processor use, which are what it has promised to keep small."""

    name = "agent"

    def __init__(
        self,
        *,
        rss_bytes: Callable[[], int] | None = None,
        cpu_s: Callable[[], float] = time.process_time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        process = psutil.Process()
        self._rss_bytes = rss_bytes or (lambda: int(process.memory_info().rss))
        self._cpu_s = cpu_s
        self._monotonic_s = monotonic_s
        self._previous = (cpu_s(), monotonic_s())

    def sample(self) -> Sample:
        try:
            rss = self._rss_bytes()
        except (OSError, psutil.Error) as exc:
            raise CollectorError(f"{self.name}: {exc}") from exc
        sample: Sample = {"agent.rss_bytes": float(rss)}
        now = (self._cpu_s(), self._monotonic_s())
        elapsed = now[1] - self._previous[1]
        if elapsed > 0:
            used = max(now[0] - self._previous[0], 0.0)
            sample["agent.cpu_percent"] = round(100 * used / elapsed, 2)
        self._previous = now
        return sample
