"""An MQTT broker and its links in memory, for tests and simulated worlds.

It behaves as MQTT 3.1.1 with clean sessions does: wildcards, retained messages, wills, take-over by
the same client id; and it can do what a real link suffers: ``cut`` loses a connection without a
word, ``set_up(False)`` makes the whole bus unreachable. Delivery is by the event loop, in order.
"""

import asyncio
import random
from collections.abc import Callable, Iterable

from paho.mqtt.matcher import MQTTMatcher

from farshore_protocol.clock import Clock
from farshore_protocol.link.backoff import Backoff, BackoffSettings
from farshore_protocol.link.model import LinkHandler, Message, Session, tell


class MemoryBus:
    """The broker's part. ``tap``, when set, sees every published message, with its client id."""

    def __init__(self) -> None:
        self._links: dict[str, MemoryLink] = {}
        self._subscriptions = MQTTMatcher()
        self._retained: dict[str, Message] = {}
        self.up = True
        self.tap: Callable[[str | None, Message], None] | None = None

    def publish(self, message: Message, client_id: str | None = None) -> None:
        """Delivers to every link with a matching filter; keeps it if it is to be retained."""
        if message.retain:
            if message.payload:
                self._retained[message.topic] = message
            else:
                self._retained.pop(message.topic, None)
        if self.tap is not None:
            self.tap(client_id, message)
        live = Message(topic=message.topic, payload=message.payload, qos=message.qos)
        # Once for each link, however many of its filters match.
        links: dict[MemoryLink, None] = {}
        for subscribers in self._subscriptions.iter_match(message.topic):
            links.update(subscribers)
        for link in links:
            link.deliver(live)

    def attach(self, link: "MemoryLink", session: Session) -> None:
        if session.client_id in self._links:
            self.cut(session.client_id, "taken over")
        self._links[session.client_id] = link
        self._subscribe(link, session.filters)
        own = MQTTMatcher()
        for topic_filter in session.filters:
            own[topic_filter] = True
        for message in self._retained.values():
            if any(own.iter_match(message.topic)):
                link.deliver(message)

    def detach(self, client_id: str) -> None:
        """An orderly end: no will."""
        link = self._links.pop(client_id, None)
        if link is not None:
            self._unsubscribe(link)

    def cut(self, client_id: str, reason: str = "cut") -> None:
        """The connection is lost: its will is published, its client learns ``reason``."""
        link = self._links.get(client_id)
        if link is not None:
            self.detach(client_id)
            will = link.lost(reason)
            if will is not None:
                self.publish(will, client_id)

    def set_up(self, up: bool) -> None:
        """Whether the bus can be reached; going down loses every connection."""
        self.up = up
        if not up:
            for client_id in list(self._links):
                self.cut(client_id, "the bus is down")

    def _subscribe(self, link: "MemoryLink", filters: Iterable[str]) -> None:
        for topic_filter in filters:
            try:
                self._subscriptions[topic_filter][link] = None
            except KeyError:
                self._subscriptions[topic_filter] = {link: None}

    def _unsubscribe(self, link: "MemoryLink") -> None:
        for topic_filter in dict.fromkeys(link.filters):
            subscribers = self._subscriptions[topic_filter]
            del subscribers[link]
            if not subscribers:
                del self._subscriptions[topic_filter]


class MemoryLink:
    """A ``Link`` to a ``MemoryBus``."""

    def __init__(
        self,
        bus: MemoryBus,
        *,
        clock: Clock,
        rng: random.Random,
        backoff: BackoffSettings | None = None,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._backoff = Backoff(backoff or BackoffSettings(), rng)
        self._session: Session | None = None
        self._up = False
        self._ended: asyncio.Future[str] | None = None
        self._handler: LinkHandler | None = None
        self._closing = asyncio.Event()
        self._finished = asyncio.Event()
        self._running = False

    @property
    def connected(self) -> bool:
        return self._session is not None and self._up

    @property
    def filters(self) -> tuple[str, ...]:
        return self._session.filters if self._session is not None else ()

    async def run(self, handler: LinkHandler) -> None:
        self._handler = handler
        self._running = True
        conn = 0
        try:
            while not self._closing.is_set():
                conn += 1
                wait_s = self._backoff.failed(up_s=await self._serve_once(handler, conn))
                if not self._closing.is_set():
                    await self._pause(wait_s)
        finally:
            self._finished.set()

    async def _serve_once(self, handler: LinkHandler, conn: int) -> float:
        """One connection; how many seconds it was up."""
        session = handler.session(conn)
        if not self._bus.up:
            return 0.0
        loop = asyncio.get_running_loop()
        since_s = self._clock.monotonic_s()
        self._session = session
        self._up = False
        ended = self._ended = loop.create_future()
        loop.call_soon(self._say_up, handler, conn, session)
        self._bus.attach(self, session)
        reason = "cancelled"
        try:
            reason = await ended
        finally:
            if self._session is session:
                self._bus.cut(session.client_id, reason)
            if self._up:
                tell(handler.link_down, conn, reason)
            self._up = False
        return self._clock.monotonic_s() - since_s

    async def _pause(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._closing.wait()
        except TimeoutError:
            return

    def _say_up(self, handler: LinkHandler, conn: int, session: Session) -> None:
        if self._session is session:
            self._up = True
            tell(handler.link_up, conn)

    def deliver(self, message: Message) -> None:
        """Called by the bus; the handler hears of it in a later turn of the loop, in order."""
        asyncio.get_running_loop().call_soon(self._hand_over, message, self._session)

    def _hand_over(self, message: Message, session: Session | None) -> None:
        if self._handler is not None and session is not None and self._session is session:
            tell(self._handler.received, message)

    def lost(self, reason: str) -> Message | None:
        """Called by the bus: the connection is gone; the will that it leaves."""
        will = self._session.will if self._session is not None else None
        self._session = None
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(reason)
        return will

    def publish(self, message: Message) -> bool:
        if self._session is None or not self._up:
            return False
        self._bus.publish(message, self._session.client_id)
        return True

    @property
    def congested(self) -> bool:
        return False

    async def close(self, farewell: Message | None = None) -> None:
        self._closing.set()
        session = self._session
        if session is not None:
            if farewell is not None and self._up:
                self._bus.publish(farewell, session.client_id)
            self._bus.detach(session.client_id)
            self.lost("closed")
        if self._running:
            await self._finished.wait()

    def reconnect(self, reason: str) -> None:
        if self._session is not None:
            self._bus.cut(self._session.client_id, reason)
