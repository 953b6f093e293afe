"""How the center of a world reaches its nodes: the broker in its own process, or one elsewhere."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextvars import Context

from farshore_center.broker.needs import Report
from farshore_center.settings import Address
from farshore_center.uplink import ExternalUplink, center_state
from farshore_protocol.clock import Clock
from farshore_protocol.link import BackoffSettings, Message

from farshore_sim.world.bus import WorldBus
from farshore_sim.world.link import WorldLink

CENTER_WIRE = "center"

Take = Callable[[str, bytes, str | None], Awaitable[None]]
Ended = Callable[[asyncio.Task[None]], None]


class EmbeddedWorldUplink:
    """The bus stands for the embedded broker: it lives and dies with the center, and awaits the
    center for each message of a client before it takes that client's next one."""

    def __init__(
        self, bus: WorldBus, *, take: Take, ended: Ended, epoch: str, context: Context
    ) -> None:
        self._bus = bus
        self._take = take
        self._ended = ended
        self._epoch = epoch
        self._context = context
        self._lanes: dict[str, asyncio.Queue[Message]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._up = False

    @property
    def ready(self) -> bool:
        return self._up

    @property
    def fault(self) -> str | None:
        return None

    def _arrived(self, client: str, message: Message) -> None:
        asyncio.get_running_loop().call_soon(self._sort, client, message, context=self._context)

    def _sort(self, client: str, message: Message) -> None:
        lane = self._lanes.get(client)
        if lane is None:
            lane = self._lanes[client] = asyncio.Queue()
            task = asyncio.create_task(self._take_in(client, lane), name="uplink")
            task.add_done_callback(self._ended)
            self._tasks.append(task)
        lane.put_nowait(message)

    async def _take_in(self, client: str, lane: asyncio.Queue[Message]) -> None:
        while True:
            message = await lane.get()
            await self._take(message.topic, message.payload, client)

    async def start(self) -> None:
        self._bus.go_up()
        self._bus.intake = self._arrived
        await self.send(center_state(self._epoch, True))
        self._up = True

    async def send(self, message: Message) -> None:
        self._bus.publish(message)

    async def stop(self) -> None:
        self._up = False
        self._bus.go_down(wipe=True)
        for task in self._tasks:
            task.remove_done_callback(self._ended)
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class ExternalWorldUplink(ExternalUplink):
    """The real client of an external broker, over the world's bus; its self-test is taken as passed:
    it asks whether the broker keeps to MQTT, and the bus does."""

    def __init__(
        self,
        bus: WorldBus,
        *,
        take: Take,
        ended: Ended,
        epoch: str,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        super().__init__(
            Address(host="world", port=1883),
            take=take,
            ended=ended,
            epoch=epoch,
            clock=clock,
            rng=rng,
        )
        self._bus = bus
        self._selftest = _Passed(bus)  # type: ignore[assignment] # all that is asked of it

    def _new_link(self) -> WorldLink:  # type: ignore[override] # the same `Link`, no socket
        return WorldLink(
            self._bus,
            CENTER_WIRE,
            clock=self._clock,
            rng=self._rng,
            backoff=BackoffSettings(first_s=0.2, max_s=2.0),
        )


class _Passed:
    def __init__(self, bus: WorldBus) -> None:
        self._bus = bus

    async def examine(self, _client_id: str) -> Report:
        await asyncio.sleep(0.1)
        if not self._bus.reachable(CENTER_WIRE):
            return Report(faults={"connection": "the world has cut it"})
        return Report(faults={})
