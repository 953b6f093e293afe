"""Says that the node is there: presence and birth on every connection, heartbeats, time requests."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from farshore_protocol.clock import Clock
from farshore_protocol.codec import encode
from farshore_protocol.link import Message
from farshore_protocol.messages import (
    Birth,
    Heartbeat,
    Queue,
    StreamHead,
    TimeAnswer,
    TimeRequest,
)
from farshore_protocol.messages import Presence as PresenceMessage
from farshore_protocol.topics import Up, UpKind
from farshore_protocol.version import PROTOCOL

from farshore_edge.presence.clock_sync import ClockSync

log = logging.getLogger(__name__)

TIME_EVERY_S = 600.0
REPAIR_EVERY_S = 1.0


class Uplink(Protocol):
    def publish(self, message: Message) -> bool: ...


class Presence:
    """``identity`` gives the birth's fields that are not presence's own."""

    def __init__(
        self,
        *,
        node: str,
        boot: str,
        heartbeat_s: float,
        clock: Clock,
        up_ms: Callable[[], int],
        identity: Callable[[], dict[str, object]],
        heads: Callable[[], dict[str, StreamHead]],
        queues: Callable[[], dict[str, Queue]],
        sync: ClockSync,
    ) -> None:
        self._node = node
        self._boot = boot
        self._heartbeat_s = heartbeat_s
        self._clock = clock
        self._up_ms = up_ms
        self._identity = identity
        self._heads = heads
        self._queues = queues
        self._sync = sync
        self._conn = 0
        self._uplink: Uplink | None = None
        self._leaving = False
        self._repair: asyncio.TimerHandle | None = None
        self._center_epoch = ""
        self._repaired_s = -REPAIR_EVERY_S
        self._asked_time_s = 0.0
        self._retimed = asyncio.Event()

    def beat_every(self, seconds: float) -> None:
        """From now on; the center hears of it by a birth, for it judges silence by that."""
        if seconds != self._heartbeat_s:
            self._heartbeat_s = seconds
            self._retimed.set()
            self.say_birth()

    def _topic(self, kind: UpKind) -> str:
        return Up(node=self._node, kind=kind).build()

    def _state(self, online: bool, conn: int) -> Message:
        word = PresenceMessage(state="online" if online else "offline", boot=self._boot, conn=conn)
        return Message(topic=self._topic("presence"), payload=encode(word), qos=1, retain=True)

    def will(self, conn: int) -> Message:
        return self._state(False, conn)

    def farewell(self) -> Message:
        """The last word: from now on "offline" is the truth, and repaired no more."""
        self._leaving = True
        return self._state(False, max(1, self._conn))

    def link_up(self, conn: int, uplink: Uplink) -> None:
        self._conn, self._uplink = conn, uplink
        uplink.publish(self._state(True, conn))
        self.say_birth()
        self._ask_time()

    def link_down(self) -> None:
        self._uplink = None
        if self._repair is not None:
            self._repair.cancel()
            self._repair = None

    def say_birth(self) -> None:
        """On every connection, and when the center says that it does not know this node."""
        if self._uplink is not None:
            birth = encode(self._birth())
            self._uplink.publish(Message(topic=self._topic("birth"), payload=birth, qos=1))

    def saw_center(self, epoch: str, *, live: bool) -> bool:
        """A center that came while this node was connected to the broker has not heard its birth,
        and may know less than the one before it: then the birth is said. ``live``: said now, not lying
        at the broker."""
        another = live and epoch != self._center_epoch
        if another:
            self.say_birth()
        self._center_epoch = epoch
        return another

    def _birth(self) -> Birth:
        identity = self._identity()
        return Birth(
            protocol=PROTOCOL,
            boot=self._boot,
            conn=self._conn,
            up_ms=self._up_ms(),
            ts=self._clock.now_ms(),
            streams=self._heads(),
            heartbeat_s=self._heartbeat_s,
            **identity,  # type: ignore[arg-type] # the agent's own fields, checked by the tests
        )

    def _ask_time(self) -> None:
        self._asked_time_s = self._clock.monotonic_s()
        self._publish(
            "time", TimeRequest(boot=self._boot, up_ms=self._up_ms(), ts=self._clock.now_ms())
        )

    def _publish(self, kind: UpKind, word: object) -> None:
        if self._uplink is not None:
            self._uplink.publish(Message(topic=self._topic(kind), payload=encode(word)))

    def time_answered(self, answer: TimeAnswer) -> None:
        if answer.boot == self._boot:
            self._sync.answered(answer, up_ms=self._up_ms(), now_ms=self._clock.now_ms())

    def saw_own(self, word: PresenceMessage) -> None:
        """What others are told of this node; a false word about it is repaired.

        At most once in ``REPAIR_EVERY_S``: two agents under one name would answer each other for ever.
        """
        mine = word.boot == self._boot and word.conn == self._conn
        if self._uplink is None or self._leaving or self._repair is not None:
            return
        if mine and word.state == "online":
            return
        log.warning("a false presence is repaired", extra={"seen": str(word)})
        wait_s = self._repaired_s + REPAIR_EVERY_S - self._clock.monotonic_s()
        if wait_s <= 0:
            self._say_online()
        else:
            self._repair = asyncio.get_running_loop().call_later(wait_s, self._say_online)

    def _say_online(self) -> None:
        self._repair = None
        self._repaired_s = self._clock.monotonic_s()
        if self._uplink is not None and not self._leaving:
            self._uplink.publish(self._state(True, self._conn))

    async def run(self) -> None:
        """The heartbeat."""
        while True:
            self._retimed.clear()
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    await self._retimed.wait()
                continue
            except TimeoutError:
                if self._uplink is None:
                    continue
            self._publish(
                "heartbeat",
                Heartbeat(
                    boot=self._boot,
                    conn=self._conn,
                    up_s=round(self._up_ms() / 1000, 3),
                    queue=self._queues(),
                    offset_ms=self._sync.offset_ms(
                        up_ms=self._up_ms(), now_ms=self._clock.now_ms()
                    ),
                ),
            )
            asked_s_ago = self._clock.monotonic_s() - self._asked_time_s
            if not self._sync.asked or asked_s_ago >= TIME_EVERY_S:
                self._ask_time()
