"""Verbs that look at the network and at the link to the center."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from farshore_protocol.commands.catalogue.model import Verb

HostName = Annotated[str, Meta(min_length=1, max_length=253, pattern=r"\A[A-Za-z0-9_.:%-]+\Z")]
UNSOLICITED_BYTES = 1024 * 1024
"""A test of the link that moves no more than this only asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetProbeArgs:
    """``host``: a name or an address, of all kinds but ``http``, which takes ``url``; ``port``: of
    ``tcp``; ``record`` and ``server`` (an address): of ``dns``, without ``server`` the machine's own
    resolver is asked. ``count``: how often; ``interval_s``: between two; ``wait_s``: for each answer.
    ``size``: bytes of data in an ``icmp`` echo. ``verify``: whether the certificate must be good;
    ``method``: of ``http``; redirections are told and not followed, and no body is kept."""

    kind: Literal["dns", "tcp", "icmp", "http", "path-mtu"]
    host: HostName | None = None
    port: Annotated[int, Meta(ge=1, le=65_535)] | None = None
    url: (
        Annotated[str, Meta(min_length=8, max_length=2048, pattern=r"\Ahttps?://[!-~]+\Z")] | None
    ) = None
    record: Literal["address", "A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"] = (
        "address"
    )
    server: HostName | None = None
    family: Literal["any", "ipv4", "ipv6"] = "any"
    count: Annotated[int, Meta(ge=1, le=20)] | None = None
    interval_s: Annotated[float, Meta(ge=0, le=5)] = 0.2
    wait_s: Annotated[float, Meta(ge=0.1, le=30)] = 3
    size: Annotated[int, Meta(ge=0, le=1400)] = 32
    method: Literal["GET", "HEAD"] = "GET"
    verify: bool = True

    def __post_init__(self) -> None:
        if self.kind == "http":
            self._expect(
                self.url is not None and self.host is None, "url: http needs one, and no host"
            )
        else:
            self._expect(self.host is not None, f"host: {self.kind} needs one")
            self._expect(self.url is None, f"url: {self.kind} takes none")
        tcp = self.kind == "tcp"
        self._expect((self.port is not None) == tcp, "port: tcp needs one, others take none")
        dns = self.kind == "dns"
        self._expect(dns or self.server is None, "server: only dns takes one")
        self._expect(dns or self.record == "address", "record: only dns takes one")

    @staticmethod
    def _expect(fits: bool, what: str) -> None:
        if not fits:
            raise ValueError(what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Milliseconds, of what was answered."""

    min: float
    avg: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NetProbeResult:
    """``summary``: all of it in one line; ``target``: what was probed; ``addresses``: what its name
    stands for, the first one was used; ``lookup_ms``: how long the name took. ``sent``, ``answered``;
    ``times_ms``: of each that was answered; ``errors``: what the others came to, with how often.
    ``records``: of ``dns``, each with ``type``, ``ttl_s`` (where known), ``value``. ``http``:
    ``status``, ``reason``, ``server``, ``location``, ``dns_ms``, ``connect_ms``, ``tls_ms``,
    ``first_byte_ms`` (after the request), ``total_ms``, ``certificate``: ``not_after`` (ISO 8601),
    ``days_left``, ``protocol``, ``cipher``. ``path_mtu``: ``mtu`` (bytes of an IP packet),
    ``interface_mtu``, ``confirmed`` (a packet of that size was answered), ``black_hole`` (larger ones
    vanished without a word), ``method``, ``probes``."""

    kind: str
    target: str
    addresses: list[str]
    summary: str = ""
    lookup_ms: float | None = None
    sent: int = 0
    answered: int = 0
    times_ms: Times | None = None
    errors: dict[str, int] | None = None
    records: list[dict[str, Any]] | None = None
    http: dict[str, Any] | None = None
    path_mtu: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTestArgs:
    """``count``: small messages there and back, one every ``interval_s``; ``bytes``: how much is moved in
    each direction, 0 leaves the throughput out; ``direction``: of the throughput; ``seconds``: how long
    each direction may take at most."""

    count: Annotated[int, Meta(ge=1, le=100)] = 10
    interval_s: Annotated[float, Meta(ge=0.01, le=5)] = 0.1
    bytes: Annotated[int, Meta(ge=0, le=16 * 1024 * 1024)] = 256 * 1024
    direction: Literal["both", "up", "down"] = "both"
    seconds: Annotated[float, Meta(ge=0.5, le=60)] = 10

    @property
    def only_asks(self) -> bool:
        """Whether it moves so little that anyone may ask for it."""
        return self.bytes <= UNSOLICITED_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrips:
    """Of small messages of QoS 0 to the center and back, in milliseconds; ``jitter_ms``: the mean change
    from one to the next; null where too few came back."""

    sent: int
    answered: int
    loss_percent: float
    min_ms: float | None = None
    median_ms: float | None = None
    p95_ms: float | None = None
    max_ms: float | None = None
    jitter_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """``bytes``: of payload that truly arrived, in so many ``messages``; ``seconds``: from the first one
    sent to the last one answered; ``lost``: messages that were not answered; ``complete``: false where
    the time was over before all was moved; ``late_bytes_per_s``: of the second half, when as much is under
    way as the link takes, null where too little came."""

    bytes: int
    messages: int
    lost: int
    seconds: float
    bytes_per_s: float
    complete: bool
    late_bytes_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTestResult:
    """``over``: the broker's address; what is measured is the way through it to the center's process and
    back, over the agent's own connection and beside its streams. ``summary``: all of it in one line;
    ``up``: from the node to the center."""

    over: str
    summary: str
    round_trip: RoundTrips
    up: Throughput | None = None
    down: Throughput | None = None


NETWORK: tuple[Verb, ...] = (
    Verb(
        name="net-probe",
        summary="Looks from the node at the network: DNS, TCP, ICMP echo, HTTP(S), path MTU.",
        risk="read",
        idempotent=True,
        timeout_s=60,
        args=NetProbeArgs,
        result=NetProbeResult,
    ),
    Verb(
        name="link-test",
        summary="Measures delay, loss and throughput between the node and its center, over their own link.",
        risk="change",
        idempotent=True,
        timeout_s=150,
        args=LinkTestArgs,
        result=LinkTestResult,
    ),
)
