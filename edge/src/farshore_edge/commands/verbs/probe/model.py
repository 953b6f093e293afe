"""What the kinds of probes share: the way to a target, attempts with their times, failures."""

import asyncio
import errno
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from farshore_protocol.commands.catalogue.network import Times

Found = dict[str, Any]
"""Fields of a NetProbeResult beyond ``kind``, ``target`` and ``addresses``."""

_TOLD = {
    errno.ECONNREFUSED: "refused",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
    errno.ETIMEDOUT: "timed out",
    errno.ECONNRESET: "reset",
    errno.EADDRNOTAVAIL: "no address of this family here",
    errno.EACCES: "not permitted",
    errno.EPERM: "not permitted",
}


class ProbeError(Exception):
    """The probe came to nothing; ``found``: what is known all the same."""

    def __init__(self, code: str, message: str, found: Found | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.found = found or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A target with its addresses; the first one is used."""

    host: str
    addresses: tuple[str, ...]
    lookup_ms: float | None = None

    @property
    def address(self) -> str:
        return self.addresses[0]

    @property
    def family(self) -> int:
        return socket.AF_INET6 if ":" in self.address else socket.AF_INET


@dataclass(slots=True)
class Attempts:
    """``took_ms`` of those that were answered; ``errors``: what the others came to."""

    sent: int = 0
    took_ms: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def found(self) -> Found:
        took = self.took_ms
        return {
            "sent": self.sent,
            "answered": len(took),
            "times_ms": None if not took else times(took),
            "errors": dict(self.errors) or None,
        }

    def told(self) -> str:
        """The errors in one line."""
        return ", ".join(f"{what} ({often})" for what, often in self.errors.most_common())


def times(took_ms: Sequence[float]) -> Times:
    return Times(
        min=round(min(took_ms), 3),
        avg=round(sum(took_ms) / len(took_ms), 3),
        max=round(max(took_ms), 3),
    )


async def attempts(
    count: int, interval_s: float, wait_s: float, once: Callable[[], Awaitable[float]]
) -> Attempts:
    """``once`` gives how long it took, in ms."""
    made = Attempts()
    for number in range(count):
        if number:
            await asyncio.sleep(interval_s)
        made.sent += 1
        try:
            async with asyncio.timeout(wait_s):
                made.took_ms.append(await once())
        except TimeoutError:
            made.errors["timed out"] += 1
        except OSError as exc:
            made.errors[reason(exc)] += 1
    return made


def reason(exc: OSError) -> str:
    """An error of the network in a word or two."""
    return _TOLD.get(exc.errno or 0) or (exc.strerror or str(exc)).lower()


def clock_ms() -> float:
    """For differences; a probe measures real networks, whatever clock the agent runs by."""
    return time.perf_counter() * 1000
