"""An external broker: the center is one of its clients, after it was examined."""

import asyncio
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import structlog
from farshore_protocol.clock import Clock
from farshore_protocol.link import BackoffSettings, Message, Session
from farshore_protocol.link.mqtt import MqttLink, MqttSettings
from farshore_protocol.topics import CENTER_FILTERS

from farshore_center.broker.needs import Report
from farshore_center.broker.selftest import SelfTest, SelfTestSettings
from farshore_center.settings import Address
from farshore_center.uplink.model import CENTER_STATE, State, Take, center_state

log = structlog.get_logger(__name__)

INBOX_MESSAGES = 10_000
INBOX_BYTES = 64 * 1024 * 1024
"""What may wait for its turn; the link acknowledges on receipt, so more is dropped and counted."""
LANES = 64
"""What different nodes say is taken at the same time, so that a thousand births share commits."""
REPAIR_S = 1.0
"""Until a false word about this center is put right: two centers at one broker must not shout."""


def _lane(topic: str) -> int:
    """The lane of the node that a topic names."""
    return zlib.crc32("/".join(topic.split("/", 3)[:3]).encode()) % LANES


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalTiming:
    """``again_s``: until an unfit broker is examined anew; ``unreached_s``: an absent one."""

    again_s: float = 10.0
    unreached_s: float = 0.5
    backoff: BackoffSettings = field(default=BackoffSettings(first_s=0.2, max_s=2.0))
    selftest: SelfTestSettings = field(default_factory=SelfTestSettings)


class ExternalUplink:
    """An MQTT broker that runs elsewhere; the center is one of its clients.

    It is examined before the center connects, and again whenever the connection was lost, since
    what comes back may be another one. What the center needs and it can't do is logged once, and
    no connection is made until it can.
    """

    def __init__(
        self,
        address: Address,
        *,
        take: Take,
        ended: Callable[[asyncio.Task[None]], None],
        epoch: str,
        clock: Clock,
        rng: random.Random,
        state: State | None = None,
        timing: ExternalTiming | None = None,
    ) -> None:
        """``ended`` is told when a loop ends that should not; ``state`` makes the center's word,
        without it of nothing but the epoch."""
        self._address = address
        self._take = take
        self._ended = ended
        self._epoch = epoch
        self._state = state or partial(center_state, epoch)
        self._clock = clock
        self._rng = rng
        self._timing = timing or ExternalTiming()
        self._selftest = SelfTest(self._new_link, self._timing.selftest)
        self._link: MqttLink | None = None
        self._lost = asyncio.Event()
        self._was_up = self._stopping = False
        self._belied = False
        self._repair: asyncio.TimerHandle | None = None
        self._fault: str | None = "the broker was not examined yet"
        # A node's messages stay in order: they share a lane.
        self._lanes: list[asyncio.Queue[Message]] = [asyncio.Queue() for _ in range(LANES)]
        self._waiting = self._waiting_bytes = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.dropped = 0
        """Messages of nodes for which there was no room."""
        self.unsent = 0
        """Messages for which there was no connection; who needs them sent sends them again."""

    @property
    def ready(self) -> bool:
        return self._link is not None and self._link.connected

    @property
    def fault(self) -> str | None:
        return None if self.ready else self._fault

    def _new_link(self) -> MqttLink:
        return MqttLink(
            MqttSettings(
                host=self._address.host, port=self._address.port, backoff=self._timing.backoff
            ),
            clock=self._clock,
            rng=self._rng,
        )

    # LinkHandler

    def session(self, conn: int) -> Session:
        if conn > 1:
            self._lost.set()  # a broker that comes back is examined first
        return Session(
            client_id=f"center-{self._epoch}",
            filters=(*CENTER_FILTERS, CENTER_STATE),
            will=self._state(False),
        )

    def link_up(self, conn: int) -> None:
        log.info("connected to the broker", conn=conn)
        self._was_up = True
        if self._link is not None:
            self._link.publish(self._state(True))

    def link_down(self, conn: int, reason: str) -> None:
        if not self._stopping:
            log.warning("the broker is gone", conn=conn, reason=reason)
        self._fault = f"the connection was lost: {reason}"
        self._lost.set()

    def _saw_state(self, payload: bytes) -> None:
        """What nodes are told of the center. The will of a life or a connection before this one
        may come late, and stays retained; believing it, nodes would keep their records for ever.
        """
        self._belied = payload != self._state(True).payload
        if self._belied and self._repair is None:
            self._repair = asyncio.get_running_loop().call_later(REPAIR_S, self._put_right)

    def _put_right(self) -> None:
        self._repair = None
        if self._belied and self._link is not None and not self._stopping:
            log.warning("a false word about this center was seen and repaired")
            self._link.publish(self._state(True))

    def received(self, message: Message) -> None:
        if message.topic == CENTER_STATE:
            self._saw_state(message.payload)
            return
        size = len(message.payload)
        if self._waiting >= INBOX_MESSAGES or self._waiting_bytes + size > INBOX_BYTES:
            self.dropped += 1  # not acknowledged end to end, so the node sends it again
            return
        self._waiting += 1
        self._waiting_bytes += size
        self._lanes[_lane(message.topic)].put_nowait(message)

    async def _take_in(self, lane: asyncio.Queue[Message]) -> None:
        while True:
            message = await lane.get()
            try:
                await self._take(message.topic, message.payload, None)
            finally:
                self._waiting -= 1
                self._waiting_bytes -= len(message.payload)

    # The broker, again and again

    async def _hold(self) -> None:
        while not self._stopping:
            report = await self._selftest.examine(f"selftest-{self._rng.getrandbits(48):012x}")
            self._note(report)
            if report.fit and await self._serve():
                continue
            unfit = report.reached and not report.fit
            await asyncio.sleep(self._timing.again_s if unfit else self._timing.unreached_s)

    def _note(self, report: Report) -> None:
        """Says once what is wrong, and that it is no longer."""
        if report.fit:
            log.info("the broker can do what the center needs", broker=str(self._address))
            self._fault = "examined, and not connected yet"
            return
        fault = f"{self._address}: {report.text()}"
        if fault == self._fault:
            return
        self._fault = fault
        if report.reached:
            log.error("the broker can't do what the center needs", fault=fault)
        else:
            log.warning("the broker can't be reached", fault=fault)

    async def _serve(self) -> bool:
        """One connection, until it is lost; False: there was none."""
        self._was_up = False
        self._lost.clear()
        link = self._link = self._new_link()
        running = asyncio.create_task(link.run(self), name="uplink")
        lost = asyncio.create_task(self._lost.wait())
        try:
            await asyncio.wait([running, lost], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            self._link = None
            for task in (running, lost):
                task.cancel()
            await asyncio.gather(running, lost, return_exceptions=True)
        if not (self._was_up or self._stopping):
            self._fault = f"{self._address}: the self-test passed, the connection after it did not"
            log.warning("the broker did not take the center", fault=self._fault)
        return self._was_up

    async def start(self) -> None:
        for loop in (self._hold(), *(self._take_in(lane) for lane in self._lanes)):
            task = asyncio.create_task(loop, name="uplink")
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    async def send(self, message: Message) -> None:
        if self._link is None or not self._link.publish(message):
            self.unsent += 1

    async def stop(self) -> None:
        self._stopping = True
        if self._repair is not None:
            self._repair.cancel()
        if self._link is not None:
            await self._link.close(self._state(False))
        for task in self._tasks:
            task.remove_done_callback(self._ended)
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
