"""What waits to be sent to one client, and what it has not acknowledged yet: bounded.

Pure. A slow client first loses what it agreed may be lost (QoS 0), then its connection: it never
costs the center unbounded memory, and never delays another client. It does not write to sockets.
"""

from collections import deque

from farshore_center.broker import codec
from farshore_center.broker.model import Client


class Outbound:
    """One message to any number of receivers: encoded once for each QoS."""

    __slots__ = ("_qos0", "_qos1", "client", "payload", "retain", "topic")

    def __init__(
        self, topic: str, payload: bytes, *, retain: bool, client: Client | None = None
    ) -> None:
        self.client = client
        """Who sent it."""
        self.topic = topic
        self.payload = payload
        self.retain = retain
        self._qos0: bytes | None = None
        self._qos1: tuple[bytes, bytes] | None = None

    @property
    def size(self) -> int:
        return len(self.topic) + len(self.payload)

    def at_most_once(self) -> bytes:
        if self._qos0 is None:
            self._qos0 = codec.publish(self.topic, self.payload, qos=0, retain=self.retain)
        return self._qos0

    def at_least_once(self, packet_id: int) -> bytes:
        if self._qos1 is None:
            packet = codec.publish(self.topic, self.payload, qos=1, retain=self.retain)
            end = len(packet) - len(self.payload)
            self._qos1 = packet[: end - 2], packet[end:]
        head, tail = self._qos1
        return b"%b%b%b" % (head, packet_id.to_bytes(2, "big"), tail)


class SendQueue:
    """First in, first out; at most ``window`` QoS 1 messages are unacknowledged at a time."""

    def __init__(self, *, max_messages: int, max_bytes: int, window: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._window = window
        self._waiting: deque[tuple[Outbound, int]] = deque()
        self._bytes = 0
        self._inflight: set[int] = set()
        self._last_id = 0
        self.dropped = 0
        """QoS 0 messages that there was no room for."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def inflight(self) -> int:
        return len(self._inflight)

    def offer(self, message: Outbound, qos: int) -> bool:
        """Take ``message``. False: QoS 1, and no room even without the QoS 0 that waited."""
        if self._is_full(message):
            if qos == 0:
                self.dropped += 1
                return True
            self._drop_at_most_once()
            if self._is_full(message):
                return False
        self._waiting.append((message, qos))
        self._bytes += message.size
        return True

    def next(self) -> bytes | None:
        """The next packet to write; None: nothing waits, or the window is full."""
        if not self._waiting:
            return None
        message, qos = self._waiting[0]
        if qos == 0:
            packet = message.at_most_once()
        elif len(self._inflight) >= self._window:
            return None
        else:
            packet = message.at_least_once(self._new_id())
        self._waiting.popleft()
        self._bytes -= message.size
        return packet

    def acknowledge(self, packet_id: int) -> None:
        """An id that is not under way is ignored."""
        self._inflight.discard(packet_id)

    def _new_id(self) -> int:
        packet_id = self._last_id % 65_535 + 1
        while packet_id in self._inflight:
            packet_id = packet_id % 65_535 + 1
        self._last_id = packet_id
        self._inflight.add(packet_id)
        return packet_id

    def _is_full(self, message: Outbound) -> bool:
        # One message always fits into an empty queue, whatever its size.
        return len(self._waiting) >= self._max_messages or (
            bool(self._waiting) and self._bytes + message.size > self._max_bytes
        )

    def _drop_at_most_once(self) -> None:
        kept = deque((message, qos) for message, qos in self._waiting if qos)
        self.dropped += len(self._waiting) - len(kept)
        self._waiting = kept
        self._bytes = sum(message.size for message, _ in kept)
