"""The life of one client's connection: CONNECT, its packets in order, its end and its will.

Everything that a client is to the broker lives in this object and ends with it: there are only
clean sessions, so nothing of an older connection (its TLS, its address, its subscriptions) can be
taken for a newer one's. Packets are handled one after the other in one task, so that a PUBACK
follows its ingest and a client that is faster than the ingest is slowed down by TCP.
"""

import asyncio
from collections.abc import Callable

import structlog
from amqtt.mqtt.packet import (
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PUBACK,
    PUBLISH,
    PUBREL,
    SUBSCRIBE,
    UNSUBSCRIBE,
)

from farshore_center.broker import codec
from farshore_center.broker.channel import Channel
from farshore_center.broker.delivery import Delivery
from farshore_center.broker.errors import PeerError
from farshore_center.broker.framing import Frame, FrameSplitter
from farshore_center.broker.handshake import TurnedAway, introduce
from farshore_center.broker.hub import Hub
from farshore_center.broker.model import Client, Publication, Refusal
from farshore_center.broker.registry import Registry

log = structlog.get_logger(__name__)

_TURN_PACKETS = 32
"""How many packets of one client are handled before others get their turn."""
_MAX_UNRELEASED = 1_000
"""QoS 2 packet ids that a client may leave without PUBREL."""


class Connection:
    """One client, from the opened channel to the published will."""

    def __init__(
        self,
        channel: Channel,
        hub: Hub,
        registry: "Registry[Connection]",
        new_id: Callable[[], str],
    ) -> None:
        self.client: Client | None = None
        self.established = False
        """Whether the client has been told that it is connected."""
        self.ended = asyncio.Event()
        """Set when nothing of this connection will happen any more, its will included."""
        self._channel = channel
        self._hub = hub
        self._registry = registry
        self._new_id = new_id
        self._settings = hub.settings
        self._loop = asyncio.get_running_loop()
        self._splitter = FrameSplitter(self._settings.max_packet_bytes)
        self._out = Delivery(
            channel,
            self._settings,
            retained=hub.retained,
            traffic=registry.traffic,
            overflow=lambda: self.abort("slow_consumer"),
        )
        self._unreleased: set[int] = set()
        self._will: codec.Will | None = None
        self._closed_because: str | None = None
        self._busy = False
        self._stopping = False
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Serve the client until either side has had enough. Raises nothing."""
        self._timer = self._loop.call_later(
            self._settings.connect_timeout_s, self.abort, "connect_timeout"
        )
        try:
            await self._serve()
        except PeerError as fault:
            self._hub.refuse(self.client, None, b"", fault.refusal)
            # What was answered already (a CONNACK with the reason) is still sent.
            self._close(fault.refusal.reason)
        except Exception:
            log.exception("mqtt connection failed", remote=self._channel.remote)
            self.abort("failed")
        finally:
            if self._channel.server_stops:
                self._will = None
            self._close("lost")
            await self._end()

    @property
    def dropped(self) -> int:
        return self._out.dropped

    def abort(self, reason: str) -> None:
        """Cut the connection now; the will is published."""
        if self._closed_because is None:
            self._closed_because = reason
            self._detach()
            self._channel.abort()

    def stop(self) -> None:
        """End the connection because the broker stops: no will, what is written is sent.

        A packet that is being handled is finished and acknowledged; those behind it are not.
        """
        self._will = None
        self._stopping = True
        if not self._busy:
            self._close("stopped")

    # The way in.

    async def _serve(self) -> None:
        handled, greeted = 0, False
        while data := await self._channel.read():
            if self._closed_because is not None:
                return  # what it sent before it was cut is not acknowledged, nor taken
            self._busy = True
            self._registry.traffic.bytes_received += len(data)
            if not greeted and data[0] != CONNECT << 4:
                # At once: what another protocol begins with may look like a packet to wait for.
                raise PeerError("malformed", "the first packet is not a CONNECT")
            greeted = True
            for frame in self._splitter.feed(data):
                await self._handle(frame)
                handled += 1
                if handled % _TURN_PACKETS == 0:
                    await asyncio.sleep(0)
                if self._stopping:
                    self._close("stopped")
                if self._closed_because is not None:
                    return  # it may have been cut during any await above
            self._busy = False
            if self._channel.congested:
                await self._wait_until_it_reads()

    async def _handle(self, frame: Frame) -> None:
        kind = frame.kind
        if self.client is None:
            await self._connect(frame)
            return
        if kind == PUBLISH:
            await self._publish(self.client, frame)
            return
        codec.check_flags(frame)
        if kind == PUBACK:
            self._out.acknowledged(codec.decode_packet_id(frame))
        elif kind == PINGREQ:
            self._out.answer(codec.pingresp())
        elif kind == SUBSCRIBE:
            self._subscribe(self.client, frame)
        elif kind == UNSUBSCRIBE:
            self._unsubscribe(frame)
        elif kind == PUBREL:
            packet_id = codec.decode_packet_id(frame)
            self._unreleased.discard(packet_id)
            self._out.answer(codec.pubcomp(packet_id))
        elif kind == DISCONNECT:
            self._will = None
            self._close("disconnected")
        else:
            raise PeerError("malformed", "a second CONNECT")

    async def _connect(self, frame: Frame) -> None:
        try:
            connect = codec.decode_connect(frame)
        except codec.UnsupportedLevelError:
            self._out.answer(codec.connack(codec.BAD_LEVEL))
            raise
        client = introduce(
            connect,
            remote=self._channel.remote,
            transport=self._channel.transport_name,
            certificate=self._channel.certificate,
            gate=self._hub.gate,
            new_id=self._new_id,
        )
        if isinstance(client, TurnedAway):
            self._out.answer(codec.connack(client.code))
            self._hub.refuse(client.client, None, b"", client.refusal)
            self._close(client.refusal.reason)
            return
        self.client = client
        self._cancel_timer()
        await self._registry.enter(client.client_id, self, self._settings.connect_timeout_s)
        if self._closed_because is not None or self._stopping:
            return  # taken over in turn while it waited
        self._will = connect.will
        self.established = True
        self._out.answer(codec.connack(codec.ACCEPTED))
        if connect.keepalive_s:
            self._watch(connect.keepalive_s * self._settings.keepalive_grace)

    async def _publish(self, client: Client, frame: Frame) -> None:
        packet = codec.decode_publish(frame)
        if len(packet.payload) > self._settings.max_payload_bytes:
            raise PeerError(
                "too_large",
                f"a payload of {len(packet.payload)} bytes, "
                f"expected {self._settings.max_payload_bytes} or fewer",
            )
        if packet.qos == 2 and packet.packet_id in self._unreleased:
            self._out.answer(codec.pubrec(packet.packet_id))  # taken already, sent again
            return
        publication = Publication(
            client=client,
            topic=packet.topic,
            payload=packet.payload,
            qos=packet.qos,
            retain=packet.retain,
        )
        if not await self._accepted(client, publication):
            self.abort("ingest_failed")  # no PUBACK: the client sends it again
        elif packet.qos == 1:
            self._out.answer(codec.puback(packet.packet_id))
        elif packet.qos == 2:
            self._unreleased.add(packet.packet_id)
            if len(self._unreleased) > _MAX_UNRELEASED:
                raise PeerError("malformed", "too many QoS 2 publications without PUBREL")
            self._out.answer(codec.pubrec(packet.packet_id))

    async def _accepted(self, client: Client, publication: Publication) -> bool:
        try:
            await self._hub.accept(client, publication)
        except Exception:
            log.exception("mqtt ingest failed", client=client.client_id, topic=publication.topic)
            return False
        return True

    def _subscribe(self, client: Client, frame: Frame) -> None:
        # All of it in one step, without an await: subscriptions of other clients can't change
        # under it, and no publication can be lost between the grant and the registration.
        packet_id, topics = codec.decode_subscribe(frame)
        granted: list[tuple[str, int]] = []
        for topic_filter, wanted in topics:
            refusal = self._hub.subscribe_refusal(client, topic_filter) or self._one_too_many(
                topic_filter
            )
            if refusal is not None:
                self._hub.refuse(client, topic_filter, b"", refusal)
                granted.append((topic_filter, codec.SUBSCRIPTION_REFUSED))
                continue
            qos = min(wanted, 1)
            self._hub.index.add(self._out, topic_filter, qos)
            granted.append((topic_filter, qos))
        self._out.subscribed(packet_id, granted)

    def _one_too_many(self, topic_filter: str) -> Refusal | None:
        limit = self._settings.max_subscriptions_per_client
        index = self._hub.index
        if index.count(self._out) < limit or index.holds(self._out, topic_filter):
            return None
        return Refusal(reason="too_many_subscriptions", detail=f"expected {limit} or fewer")

    def _unsubscribe(self, frame: Frame) -> None:
        packet_id, filters = codec.decode_unsubscribe(frame)
        for topic_filter in filters:
            self._hub.index.remove(self._out, topic_filter)
        self._out.answer(codec.unsuback(packet_id))

    async def _wait_until_it_reads(self) -> None:
        """Don't take more from a client that does not take what it is owed."""
        try:
            async with asyncio.timeout(self._settings.stall_timeout_s):
                await self._out.wait_writable()
        except TimeoutError:
            self.abort("slow_consumer")

    # The end.

    def _watch(self, silence_s: float) -> None:
        """Cut the connection after ``silence_s`` without input, its will included."""
        silent = self._loop.time() - self._channel.last_input
        if self._busy:
            silent = 0.0  # its input waits for us, not we for its input
        if silent >= silence_s:
            self.abort("keepalive_expired")
        else:
            self._timer = self._loop.call_later(silence_s - silent, self._watch, silence_s)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self, reason: str) -> None:
        """Close after what is written has been sent. Only the first reason counts."""
        if self._closed_because is None:
            self._closed_because = reason
            self._detach()
            self._channel.close()

    def _detach(self) -> None:
        self._cancel_timer()
        self._hub.index.remove_all(self._out)
        self._out.end()
        self._registry.closed[self._closed_because or "lost"] += 1
        if self.client is not None:
            self._registry.leave(self.client.client_id, self)

    async def _end(self) -> None:
        will, client = self._will, self.client
        try:
            if will is not None and client is not None and self.established:
                publication = Publication(
                    client=client,
                    topic=will.topic,
                    payload=will.payload,
                    qos=will.qos,
                    retain=will.retain,
                )
                await self._accepted(client, publication)
        finally:
            self.ended.set()
