"""What the broker's room speaks about: clients, publications, refusals, and its settings.

Data and the three protocols that the rest of the center implements. Nothing here does I/O or
knows a wire format.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, Protocol

TransportName = Literal["tcp", "websocket"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One connected client, as it introduced itself; made anew at every CONNECT."""

    client_id: str
    username: str | None
    will_topic: str | None
    remote: str
    transport: TransportName
    certificate: bytes | None = None
    """The certificate (DER) that the client proved in this connection's TLS handshake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A message on its way through the broker."""

    client: Client | None
    """Who sent it; None: the center itself."""
    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why something is not allowed."""

    reason: str
    """A short machine word, fit for a counter's label."""
    detail: str
    """For people."""


class Gate(Protocol):
    """The access rule. Asked synchronously, before every effect; None means yes."""

    def admit(self, client: Client, password: bytes | None, /) -> Refusal | None: ...

    def may_publish(self, client: Client, topic: str, /) -> Refusal | None: ...

    def may_retain(self, client: Client, topic: str, /) -> Refusal | None:
        """Asked of what may be published: it is delivered in any case, and kept if this is None."""
        ...

    def may_subscribe(self, client: Client, topic_filter: str, /) -> Refusal | None: ...


class Ingest(Protocol):
    """Takes every admitted publication; the sender gets its PUBACK after this has returned."""

    async def __call__(self, publication: Publication, /) -> None: ...


class Rejections(Protocol):
    """Told about everything that was refused, with the reason."""

    def __call__(
        self, client: Client | None, topic: str | None, payload: bytes, refusal: Refusal, /
    ) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """Bounds and addresses. Every bound exists: a broker without bounds is its clients' toy."""

    host: str = "127.0.0.1"
    port: int = 1883
    """0: any free port, see ``EmbeddedBroker.port``."""
    tls: ssl.SSLContext | None = None
    """A server context; whether it demands a client certificate is the context's business."""

    max_connections: int = 5_000
    max_payload_bytes: int = 102_400
    max_topic_bytes: int = 1_024
    max_topic_levels: int = 32
    max_subscriptions_per_client: int = 200

    connect_timeout_s: float = 10.0
    """From the first byte's chance to a complete CONNECT; also how long a new connection waits
    for the end of the one that it takes over."""
    keepalive_grace: float = 1.5
    stall_timeout_s: float = 60.0
    """How long a client that sends may refuse to read before it is disconnected."""
    stop_timeout_s: float = 5.0

    max_queued_messages: int = 1_000
    max_queued_bytes: int = 4_000_000
    max_inflight: int = 256
    """QoS 1 messages that one client has not acknowledged yet; the rest waits in its queue."""

    max_retained_messages: int = 50_000
    max_retained_bytes: int = 64_000_000

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"port: {self.port!r}, expected 0 to 65535")
        if self.keepalive_grace < 1:
            raise ValueError(f"keepalive_grace: {self.keepalive_grace!r}, expected 1 or more")
        if self.max_inflight > 32_768:
            raise ValueError(f"max_inflight: {self.max_inflight!r}, expected 32768 or less")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.startswith(("max_", "connect_", "stall_", "stop_")) and value <= 0:
                raise ValueError(f"{field.name}: {value!r}, expected more than 0")

    @property
    def max_packet_bytes(self) -> int:
        """The largest packet body that is read at all: a largest topic with a largest payload."""
        return self.max_payload_bytes + self.max_topic_bytes + 4


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerStats:
    """Counters since the start, and what there is now."""

    connections: int
    clients: int
    subscriptions: int
    retained: int
    connects: int
    received: int
    delivered: int
    dropped: int
    bytes_received: int
    bytes_sent: int
    refused: Mapping[str, int]
    """What was refused, by reason."""
    closed: Mapping[str, int]
    """Why connections ended, by reason."""
