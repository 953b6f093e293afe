"""The courier: carries records over the link as the sender decides, and takes acknowledgements back.

After a connection it waits for the center's first word about what it holds (or ``GREETING_S``), so
that a backlog that has arrived already is not sent a second time.
"""

import asyncio
import contextlib
import logging
from typing import Protocol

from farshore_protocol.clock import Clock
from farshore_protocol.errors import MessageError
from farshore_protocol.link import Message
from farshore_protocol.stream import Ack, Pick, Sender
from farshore_protocol.topics import PREFIX

from farshore_edge.errors import DatabaseError
from farshore_edge.outbox.envelope import as_backlog
from farshore_edge.outbox.outbox import Outbox
from farshore_edge.outbox.reasons import reasons

log = logging.getLogger(__name__)

GREETING_S = 5.0
MISSING = "missing in the outbox"
DAMAGED = "damaged in the outbox"


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
        self._center_online = True  # until it is heard that it is not: a retained word may be gone
        self._begin()

    def _begin(self) -> None:
        """Nothing counts as under way; the center's first word is waited for."""
        self._sender.link_up()
        self._greeted_at_s = self._clock.monotonic_s() + GREETING_S
        self.wake()

    def link_down(self) -> None:
        self._up = False
        self._sender.link_down()
        self._settled.set()

    def center_is(self, online: bool) -> None:
        """Behind an external broker the center may be away: records then wait at the node."""
        came_back = online and not self._center_online
        self._center_online = online
        if came_back and self._up:
            self._begin()
        if not online:
            self._settled.set()

    async def acknowledged(self, ack: Ack) -> None:
        self._greeted_at_s = 0.0
        for stream, word in ack.items():
            await self._outbox.acknowledged(stream, word.epoch, word.ranges)
            missing = self._sender.asked_again(stream, word.epoch, word.resend)
            for reason, ranges in reasons(
                stream, word.epoch, missing, self._outbox.losses(), because=word.because
            ):
                await self._outbox.declare_lost(stream, ranges, reason)
        if self._sender.idle():
            self._settled.set()
        self.wake()

    async def run(self) -> None:
        while True:
            self._wake.clear()  # before looking: what is new while it carries wakes it again
            timeout_s = await self._carry()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _carry(self) -> float | None:
        """Sends what may be sent; seconds until it should look again, None for no limit."""
        now_s = self._clock.monotonic_s()
        if not self._up or not self._center_online:
            return None
        if now_s < self._greeted_at_s:
            return self._greeted_at_s - now_s
        lost: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for pick in self._sender.next(now_s):
            problem = self._send(pick)
            if problem is not None:
                lost.setdefault((pick.stream, problem), []).append((pick.seq, pick.seq))
        for (stream, problem), ranges in lost.items():
            log.error(
                "records can't be sent",
                extra={"stream": stream, "seqs": ranges, "reason": problem},
            )
            await self._outbox.declare_lost(stream, ranges, problem)
        deadline_s = self._sender.next_timeout_s()
        return None if deadline_s is None else max(0.05, deadline_s - now_s)

    def _send(self, pick: Pick) -> str | None:
        """Sends one record; why that will never be possible, if so."""
        try:
            record = self._outbox.record(pick.stream, pick.seq)
        except DatabaseError as exc:
            # It counts as sent, and so is tried again when its acknowledgement does not come.
            log.error("the outbox can't be read", extra={"error": str(exc)})
            return None
        if record is None:
            return MISSING
        try:
            payload = as_backlog(record.payload) if pick.backlog else record.payload
        except MessageError:
            return DAMAGED
        topic = f"{PREFIX}/up/{self._node}/{record.path}"
        self._uplink.publish(Message(topic=topic, payload=payload, qos=1))
        return None

    async def drained(self, within_s: float) -> bool:
        """Whether everything was acknowledged within the time; for an orderly stop."""
        self._settled.clear()
        if not self._sender.idle() and self._up and self._center_online:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._settled.wait()
        return self._sender.idle()
