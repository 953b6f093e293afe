"""The messages of the ingest measurement: telemetry records as a node makes them. Pure.

The stock broker gets the very same topics and payloads as the center.
"""

from dataclasses import dataclass

from farshore_protocol.codec import encode
from farshore_protocol.messages import Birth, Presence, StreamHead
from farshore_protocol.telemetry import TelemetryBatch
from farshore_protocol.topics import Up

from bench.mqtt import publish_packet

BOOT = "bench"
EPOCH = "benchepoch000001"
SPACING_MS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """``messages`` in all, divided among ``nodes`` connections, after ``warm_up`` of each of them.

    ``plain``: to a broker with one subscriber; else to a center.
    """

    port: int
    nodes: int
    messages: int
    warm_up: int
    window: int
    plain: bool

    @property
    def each(self) -> int:
        """Messages of each node, beyond its warm-up."""
        return self.messages // self.nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """``seconds``: until the last message had arrived (plain) or was committed (center).

    ``client_cpu_s``: what the publisher itself needed in that time.
    """

    seconds: float
    client_cpu_s: float
    payload_bytes: int


def node_names(load: Load) -> list[str]:
    return [f"bench-{number + 1:02}" for number in range(load.nodes)]


def record(seq: int, *, count: int, now_ms: int) -> bytes:
    """Record ``seq`` of ``count``: the last of them was made at ``now_ms``, two samples each."""
    age_ms = (count - seq + 1) * SPACING_MS
    swing = seq % 97
    return encode(
        TelemetryBatch(
            epoch=EPOCH,
            seq=seq,
            boot=BOOT,
            up_ms=seq * SPACING_MS,
            ts=now_ms - age_ms,
            synced=True,
            dt=[0, SPACING_MS // 2],
            m={
                "cpu.percent": [3.1 + swing, 2.9 + swing],
                "load.1m": [0.42, 0.42],
                "mem.used_bytes": [1_732_411_392.0 + swing * 4096, 1_732_415_488.0],
                "net.receive_bytes_total{interface=eth0}": [88_213_554.0 + seq, 88_213_902.0 + seq],
                "temp.celsius{sensor=cpu}": [48.5, 48.6],
                "uptime_s": [seq / 100, seq / 100],
            },
        )
    )


def packet_id(seq: int) -> int:
    """1 to 65535 and again: none is under way twice, since no window is that large."""
    return (seq - 1) % 65_535 + 1


def record_topic(node: str) -> str:
    return Up(node=node, kind="tel", name="host").build()


def record_packets(node: str, load: Load, *, now_ms: int) -> list[bytes]:
    """All records of a node, the warm-up's first, as packets."""
    count = load.warm_up + load.each
    topic = record_topic(node)
    return [
        publish_packet(topic, record(seq, count=count, now_ms=now_ms), packet_id=packet_id(seq))
        for seq in range(1, count + 1)
    ]


def arrival_packets(node: str, *, now_ms: int) -> list[bytes]:
    """What a node says first: it is there, and its stream begins."""
    presence = Presence(state="online", boot=BOOT, conn=1)
    birth = Birth(
        protocol=1,
        agent_version="bench",
        boot=BOOT,
        conn=1,
        up_ms=0,
        ts=now_ms,
        streams={"metrics": StreamHead(epoch=EPOCH, head=0)},
    )
    presence_topic = Up(node=node, kind="presence").build()
    return [
        publish_packet(presence_topic, encode(presence), packet_id=1, retain=True),
        publish_packet(Up(node=node, kind="birth").build(), encode(birth), packet_id=2),
    ]
