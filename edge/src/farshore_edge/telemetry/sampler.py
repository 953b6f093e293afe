"""Samples the machine at an interval and puts the samples into the outbox, a batch at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from farshore_protocol.telemetry.batch import columns

from farshore_edge.errors import EdgeError
from farshore_edge.outbox import Timing

log = logging.getLogger(__name__)

COMPLAIN_EVERY_S = 3600.0
VALUES_MAX = 4_000
"""In one batch, whatever ``batch_s`` says: it has to fit into one message."""


class Collector(Protocol):
    name: str

    def sample(self) -> dict[str, float]: ...


class Sampler:
    """``append`` takes a finished batch's body with the timing of its first sample."""

    def __init__(
        self,
        collectors: Sequence[Collector],
        *,
        interval_s: float,
        batch_s: float,
        now: Callable[[], Timing],
        append: Callable[[dict[str, Any], Timing], Awaitable[object]],
    ) -> None:
        self._collectors = collectors
        self._interval_s = interval_s
        self._batch_s = batch_s
        self._now = now
        self._append = append
        self._timing: Timing | None = None
        self._samples: list[dict[str, float]] = []
        self._offsets: list[int] = []
        self._complained_ms: dict[str, int] = {}
        self._values = 0
        self._retimed = asyncio.Event()

    def retime(self, *, interval_s: float | None = None, batch_s: float | None = None) -> None:
        """At once, whatever was awaited."""
        self._interval_s = self._interval_s if interval_s is None else interval_s
        self._batch_s = self._batch_s if batch_s is None else batch_s
        self._retimed.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            self.take()
            if self._full():
                await self.flush()
            taken_s, due_s = due_s, self._next_s(due_s, loop.time())
            while True:
                self._retimed.clear()
                try:
                    async with asyncio.timeout_at(due_s):
                        await self._retimed.wait()
                except TimeoutError:
                    break
                due_s = self._next_s(taken_s, loop.time())

    def _next_s(self, due_s: float, now_s: float) -> float:
        """The next one that is not past already: two at one instant would say the same."""
        missed = max(0.0, now_s - due_s) // self._interval_s
        return due_s + (missed + 1) * self._interval_s

    def _full(self) -> bool:
        if not self._offsets:
            return False
        # Half a sample of tolerance: offsets are whole milliseconds, and timers a little late.
        next_ms = self._offsets[-1] + self._interval_s * 1000
        due_ms = (self._batch_s - self._interval_s / 2) * 1000
        return next_ms >= due_ms or self._values >= VALUES_MAX

    def take(self) -> None:
        """One sample of every collector; one that fails leaves its series out of this sample."""
        now = self._now()
        sample: dict[str, float] = {}
        for collector in self._collectors:
            try:
                sample.update(collector.sample())
            except Exception as exc:  # a driver may raise anything; the others must go on
                self._complain(collector.name, exc, now.up_ms)
        if self._timing is None:
            self._timing = now
        self._samples.append(sample)
        self._values += len(sample)
        self._offsets.append(now.up_ms - self._timing.up_ms)

    def _complain(self, name: str, exc: Exception, up_ms: int) -> None:
        last = self._complained_ms.get(name)
        if last is None or up_ms - last >= COMPLAIN_EVERY_S * 1000:
            self._complained_ms[name] = up_ms
            log.warning(
                "a collector failed",
                extra={"collector": name, "error": f"{type(exc).__name__}: {exc}"},
            )

    async def flush(self) -> None:
        """Hands over what was sampled, if anything."""
        if self._timing is None:
            return
        timing, offsets, samples = self._timing, self._offsets, self._samples
        self._timing, self._offsets, self._samples, self._values = None, [], [], 0
        try:
            await self._append({"dt": offsets, "m": columns(samples)}, timing)
        except EdgeError as exc:
            log.error(
                "a batch of samples is lost", extra={"samples": len(samples), "error": str(exc)}
            )
