"""The courier: carries records over the link as the sender decides, and takes acknowledgements back.

After a connection it waits for the center's first word about what it holds (or ``GREETING_S``), so
that a backlog that has arrived already is not sent a second time.
"""

import asyncio
import logging
from typing import Protocol

from farshore_protocol.clock import Clock
from farshore_protocol.link import Message
from farshore_protocol.stream import Ack, Sender

from farshore_edge.outbox.envelope import as_backlog
from farshore_edge.outbox.outbox import Outbox

log = logging.getLogger(__name__)

GREETING_S = 5.0
NOT_KEPT = "not kept any more"


class Uplink(Protocol):
    def publish(self, message: Message) -> bool: ...


class Courier:
    def __init__(
        self, *, node: str, outbox: Outbox, sender: Sender, uplink: Uplink, clock: Clock
    ) -> None:
        self._node = node
        self._outbox = outbox
        self._sender = sender
        self._uplink = uplink
        self._clock = clock
        self._wake = asyncio.Event()
        self._up = False
        self._greeted_at_s = 0.0
        self._center_online = True
        self._settled = asyncio.Event()

    def wake(self) -> None:
        self._wake.set()

    def link_up(self) -> None:
        self._up = True
        self._sender.link_up()
        self._greeted_at_s = self._clock.monotonic_s() + GREETING_S
        self.wake()

    def link_down(self) -> None:
        self._up = False
        self._sender.link_down()

    def center_is(self, online: bool) -> None:
        """Behind an external broker the center may be away: records then wait at the node."""
        self._center_online = online
        self.wake()

    async def acknowledged(self, ack: Ack) -> None:
        self._greeted_at_s = 0.0
        for stream, word in ack.items():
            await self._outbox.acknowledged(stream, word.epoch, word.ranges)
            missing = self._sender.asked_again(stream, word.epoch, word.resend)
            if missing:
                await self._outbox.declare_lost(stream, missing, NOT_KEPT)
        if self._sender.idle():
            self._settled.set()
        self.wake()

    async def run(self) -> None:
        while True:
            timeout_s = await self._carry()
            self._wake.clear()
            if timeout_s is None or timeout_s > 0:
                try:
                    await asyncio.wait_for(self._wake.wait(), timeout_s)
                except TimeoutError:
                    continue

    async def _carry(self) -> float | None:
        """Sends what may be sent; seconds until it should look again, None for no limit."""
        now_s = self._clock.monotonic_s()
        if not self._up or not self._center_online:
            return None
        if now_s < self._greeted_at_s:
            return self._greeted_at_s - now_s
        lost: dict[str, list[tuple[int, int]]] = {}
        for pick in self._sender.next(now_s):
            record = self._outbox.record(pick.stream, pick.seq)
            if record is None:
                lost.setdefault(pick.stream, []).append((pick.seq, pick.seq))
                continue
            payload = as_backlog(record.payload) if pick.backlog else record.payload
            topic = f"fs1/up/{self._node}/{record.path}"
            self._uplink.publish(Message(topic=topic, payload=payload, qos=1))
        for stream, ranges in lost.items():
            log.error("records are missing in the outbox", extra={"stream": stream, "seqs": ranges})
            await self._outbox.declare_lost(stream, ranges, "missing in the outbox")
        deadline_s = self._sender.next_timeout_s()
        return None if deadline_s is None else max(0.05, deadline_s - now_s)

    async def drained(self, within_s: float) -> bool:
        """Whether everything was acknowledged within the time; for an orderly stop."""
        if self._sender.idle():
            return True
        self._settled.clear()
        if not self._up:
            return False
        try:
            await asyncio.wait_for(self._settled.wait(), within_s)
        except TimeoutError:
            return False
        return True
