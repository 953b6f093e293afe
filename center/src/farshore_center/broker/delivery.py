"""What the broker sends to one client: answers at once, publications as fast as it reads.

Between the pure ``SendQueue`` and the channel. It never waits for the client, except where its
own reader asks for that (``wait_writable``).
"""

import asyncio
from collections.abc import Callable

from farshore_center.broker import codec
from farshore_center.broker.channel import Channel
from farshore_center.broker.model import BrokerSettings
from farshore_center.broker.outgoing import Outbound, SendQueue
from farshore_center.broker.registry import Traffic
from farshore_center.broker.retained import RetainedStore


class Delivery:
    """A client's subscriber in the index. ``overflow`` is called when it is too slow to keep."""

    def __init__(
        self,
        channel: Channel,
        settings: BrokerSettings,
        *,
        retained: RetainedStore,
        traffic: Traffic,
        overflow: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._store = retained
        self._traffic = traffic
        self._overflow = overflow
        self._queue = SendQueue(
            max_messages=settings.max_queued_messages,
            max_bytes=settings.max_queued_bytes,
            window=settings.max_inflight,
        )
        self._owed: dict[str, int] = {}
        self._ended = False
        self._writable = asyncio.Event()
        channel.on_writable(self._on_writable)

    @property
    def dropped(self) -> int:
        """Messages that this client did not get; once it has ended, ``traffic`` counts them."""
        return 0 if self._ended else self._queue.dropped

    def deliver(self, message: Outbound, qos: int) -> None:
        if self._ended:
            return
        if self._queue.offer(message, qos):
            self._pump()
        else:
            self._traffic.dropped += 1
            self._overflow()

    def answer(self, packet: bytes) -> None:
        """A packet that does not queue; the sender of what it answers waits for us anyway."""
        self._traffic.bytes_sent += len(packet)
        self._channel.write(packet)

    def subscribed(self, packet_id: int, granted: list[tuple[str, int]]) -> None:
        """Answer a SUBSCRIBE, then send what is retained for what was granted, and only that."""
        self.answer(codec.suback(packet_id, [qos for _, qos in granted]))
        for topic_filter, qos in granted:
            if qos == codec.SUBSCRIPTION_REFUSED:
                continue
            for message in self._store.match(topic_filter):
                self._owed[message.topic] = max(qos, self._owed.get(message.topic, 0))
        self._pump()

    def acknowledged(self, packet_id: int) -> None:
        self._queue.acknowledge(packet_id)
        self._pump()

    async def wait_writable(self) -> None:
        """Until the client reads again, or has ended."""
        self._writable.clear()
        await self._writable.wait()

    def end(self) -> None:
        """Send no more; what waits counts as dropped."""
        self._traffic.dropped += self.dropped + len(self._queue)
        self._ended = True
        self._owed.clear()
        self._writable.set()

    def _pump(self) -> None:
        channel = self._channel
        while not (channel.congested or channel.closed or self._ended):
            packet = self._queue.next()
            if packet is not None:
                self._traffic.delivered += 1
                self.answer(packet)
            elif len(self._queue) or not self._offer_owed():
                return

    def _offer_owed(self) -> bool:
        """Queue the next retained message for a new subscription; False: there is none.

        Only the topics wait here, and one message at a time enters the queue: a subscription to
        everything can't overflow it, and what it gets is what is retained by then.
        """
        while self._owed:
            topic = next(iter(self._owed))
            qos = self._owed.pop(topic)
            message = self._store.get(topic)
            if message is not None:
                outbound = Outbound(topic, message.payload, retain=True)
                return self._queue.offer(outbound, min(qos, message.qos))
        return False

    def _on_writable(self) -> None:
        self._writable.set()
        self._pump()
