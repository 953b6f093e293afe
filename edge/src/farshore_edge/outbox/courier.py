"""The courier: carries records over the link as the sender decides, and takes acknowledgements back.

After a connection it waits for the center's first word about what it holds (or ``GREETING_S``), so
that a backlog that has arrived already is not sent a second time.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from farshore_protocol.clock import Clock
from farshore_protocol.errors import MessageError
from farshore_protocol.link import Message
from farshore_protocol.stream import Ack, Pick, Sender
from farshore_protocol.topics import PREFIX

from farshore_edge.errors import DatabaseError
from farshore_edge.outbox.envelope import as_backlog, as_unanswered
from farshore_edge.outbox.outbox import Outbox
from farshore_edge.outbox.pace import Pace
from farshore_edge.outbox.reasons import reasons

log = logging.getLogger(__name__)

GREETING_S = 5.0
LEAST_WAIT_S = 0.05
"""What is left of a wait may be less than a clock can tell; a timer for that is over at once."""
MISSING = "missing in the outbox"
DAMAGED = "damaged in the outbox"


class Uplink(Protocol):
    def publish(self, message: Message) -> bool: ...


class Courier:
    def __init__(
        self,
        *,
        node: str,
        outbox: Outbox,
        sender: Sender,
        uplink: Uplink,
        clock: Clock,
        spread: Callable[[], float] = lambda: 0.0,
        say_birth: Callable[[], None] = lambda: None,
    ) -> None:
        """``spread`` draws from 0 to 1: this node's place in the wait that the center asks for.

        ``say_birth``: again, when nobody answers it, and when a new epoch was begun.
        """
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
        self._spread = spread
        self._say_birth = say_birth
        self._pace = Pace()

    def wake(self) -> None:
        self._wake.set()

    def link_up(self) -> None:
        self._up = True
        self._pace.connected(self._clock.monotonic_s(), self._spread())
        self._center_online = True  # until it is heard that it is not: a retained word may be gone
        self._begin()

    def _begin(self) -> None:
        """Nothing counts as under way; the center's first word is waited for."""
        self._sender.link_up()
        now_s = self._clock.monotonic_s()
        self._greeted_at_s = now_s + GREETING_S
        self._outbox.gate.link_up(now_s)
        self.wake()

    def link_down(self) -> None:
        self._up = False
        self._sender.link_down()
        self._outbox.link_is(good=False)
        self._settled.set()

    def center_wishes(self, *, rate: float | None, hold_s: float | None) -> None:
        """The pace that the center asks for; None is no wish."""
        self._pace.wished(rate=rate, hold_s=hold_s, now_s=self._clock.monotonic_s())
        self.wake()

    def center_is(self, online: bool) -> None:
        """Behind an external broker the center may be away: records then wait at the node."""
        came_back = online and not self._center_online
        self._center_online = online
        if came_back and self._up:
            self._begin()
        self._outbox.gate.center_here = True
        if not online:
            self._outbox.link_is(good=False)
            self._settled.set()

    async def acknowledged(self, ack: Ack) -> None:
        gate = self._outbox.gate
        if not gate.open:
            if not gate.heard(ack, self._clock.monotonic_s()):
                return
            asked = self._outbox.heads()
            if not await self._outbox.answered():
                return
            ack = dict(gate.answers)
            for stream, sent in gate.sent.items():  # no center has taken these
                self._sender.asked_again(stream, asked[stream].epoch, sent)
            if {h.epoch for h in asked.values()} != {
                h.epoch for h in self._outbox.heads().values()
            }:
                self._say_birth()
        self._greeted_at_s = 0.0
        if self._up and self._center_online:
            self._outbox.link_is(good=True)
        for stream, word in ack.items():
            await self._outbox.acknowledged(stream, word.epoch, word.ranges)
            missing = self._sender.asked_again(stream, word.epoch, word.resend)
            for reason, ranges in reasons(
                stream, word.epoch, missing, self._outbox.losses(), because=word.because
            ):
                await self._outbox.declare_lost(stream, ranges, reason)
        if self._idle():
            self._settled.set()
        self.wake()

    async def run(self) -> None:
        while True:
            self._wake.clear()  # before looking: what is new while it carries wakes it again
            timeout_s = await self._carry()
            # Not wait_for: it loses a cancellation that meets a wake-up.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._wake.wait()

    async def _carry(self) -> float | None:
        """Sends what may be sent; seconds until it should look again, None for no limit."""
        now_s = self._clock.monotonic_s()
        if not self._up or not self._center_online:
            return None
        if now_s < self._greeted_at_s:
            return max(LEAST_WAIT_S, self._greeted_at_s - now_s)
        gate = self._outbox.gate
        if gate.due(now_s):
            self._say_birth()
        if not gate.open and gate.center_here:
            # Nothing that the disk holds is sent before the center has answered: a center that
            # answers nothing acknowledges nothing.
            self._say_from_memory(now_s)
            return gate.next_in_s(now_s)
        spill_in_s = self._outbox.spill_in_s()
        if spill_in_s is not None and spill_in_s <= 0:
            self._outbox.spill()
        self._say_from_memory(now_s)
        hold_s = self._pace.backlog_in_s(now_s)
        allowed = self._pace.allowed(now_s)
        picks = self._sender.next(now_s, limit=allowed, backlog_too=not hold_s)
        self._pace.sent(len(picks))
        await self._carried(picks)
        return self._look_again_in_s(now_s, paced=allowed is not None and len(picks) == allowed)

    def _look_again_in_s(self, now_s: float, *, paced: bool) -> float | None:
        volatile = self._outbox.volatile
        deadlines = [self._sender.next_timeout_s()]
        if volatile is not None:
            deadlines.append(volatile.next_timeout_s())
        waits = [deadline - now_s for deadline in deadlines if deadline is not None]
        waits += [wait for wait in (self._outbox.spill_in_s(),) if wait is not None]
        waits += [wait for wait in (self._pace.backlog_in_s(now_s),) if wait]
        if not self._outbox.gate.open:
            waits.append(self._outbox.gate.next_in_s(now_s))
        if paced:
            waits.append(self._pace.next_in_s(now_s))
        return max(LEAST_WAIT_S, min(waits)) if waits else None

    def _say_from_memory(self, now_s: float) -> None:
        """What the outbox could not write; live, however much is kept."""
        for record in self._outbox.volatile.next(now_s) if self._outbox.volatile else ():
            self._publish(record.path, record.payload)

    async def _carried(self, picks: Iterable[Pick]) -> None:
        lost: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for pick in picks:
            problem = self._send(pick)
            if problem is not None:
                lost.setdefault((pick.stream, problem), []).append((pick.seq, pick.seq))
        for (stream, problem), ranges in lost.items():
            log.error(
                "records can't be sent",
                extra={"stream": stream, "seqs": ranges, "reason": problem},
            )
            await self._outbox.declare_lost(stream, ranges, problem)

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
            if not self._outbox.gate.open:
                payload = as_unanswered(payload)
                self._outbox.gate.sent[pick.stream].add(pick.seq)
        except MessageError:
            return DAMAGED
        self._publish(record.path, payload)
        return None

    def _publish(self, path: str, payload: bytes) -> None:
        topic = f"{PREFIX}/up/{self._node}/{path}"
        self._uplink.publish(Message(topic=topic, payload=payload, qos=1))

    async def drained(self, within_s: float) -> bool:
        """Whether everything was acknowledged within the time; for an orderly stop."""
        self._settled.clear()
        if not self._idle() and self._up and self._center_online:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._settled.wait()
        return self._idle()

    def _idle(self) -> bool:
        """Whether everything was acknowledged, what is said from memory included."""
        volatile = self._outbox.volatile
        return self._sender.idle() and (volatile is None or volatile.idle())
