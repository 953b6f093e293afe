"""What rooms that send to nodes until they answer share: a pace, a downlink that may hang, a sleep until the
next is due.

Who is to be sent what, and whether that was answered, is each room's own.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

import structlog
from farshore_protocol.link import Message

log = structlog.get_logger(__name__)

LONGEST_WAIT_S = 60.0
"""The wall clock may be set: due times are compared with it anew at least this often."""

_MOST_DOUBLINGS = 16


class Downlink(Protocol):
    async def send(self, message: Message) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long to wait for an answer before sending again; doubles with every sending."""

    after_s: float
    most_s: float

    def pause_s(self, sends: int) -> float:
        """After so many sendings."""
        return min(self.after_s * (1 << min(max(sends - 1, 0), _MOST_DOUBLINGS)), self.most_s)

    def pause_ms(self, sends: int) -> int:
        return round(self.pause_s(sends) * 1000)


@dataclass(slots=True, kw_only=True)
class SendCounts:
    """Since the start."""

    sent: int = 0
    sent_again: int = 0
    send_failures: int = 0


class Publisher:
    """``what`` is sent, for the log. ``timeout_s``: what the downlink may take for one message."""

    def __init__(self, downlink: Downlink, what: str, *, timeout_s: float) -> None:
        self._downlink = downlink
        self._what = what
        self._timeout_s = timeout_s
        self.counts = SendCounts()

    async def publish(self, message: Message, *, again: bool) -> None:
        """One that fails is counted; whoever waits for the answer sends it again."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._downlink.send(message)
        except Exception as exc:  # whatever a downlink raises, the others must get theirs
            self.counts.send_failures += 1
            log.warning(
                "a message was not sent", what=self._what, topic=message.topic, reason=repr(exc)
            )
            return
        self.counts.sent += not again
        self.counts.sent_again += again


async def woken(event: asyncio.Event, due_in_s: float | None) -> None:
    """Until somebody wakes it, or something is due; None: nothing is."""
    wait_s = LONGEST_WAIT_S if due_in_s is None else min(max(due_in_s, 0.0), LONGEST_WAIT_S)
    try:
        async with asyncio.timeout(wait_s):
            await event.wait()
    except TimeoutError:
        return
