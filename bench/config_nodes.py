"""Many nodes that do nothing but report what they are sent as applied, in a process of their own:
``python -m bench.config_nodes PORT NODES``.

They stand for agents where the center's side is measured: what a node does with a configuration
takes time of its own, and is measured elsewhere. Runs until it is ended.
"""

import asyncio
import sys
import time

from farshore_protocol.codec import decode, encode
from farshore_protocol.config.messages import MAX_CONFIG_BYTES, ConfigReport, DesiredConfig
from farshore_protocol.messages import Birth, Presence, StreamHead
from farshore_protocol.telemetry import inflate
from farshore_protocol.topics import Up

from bench.errors import BenchError
from bench.mqtt import Client, publish_packet
from bench.records import BOOT, packet_id

EPOCH = "benchconfig00001"
GROUP = "bench/all"
SILENT_S = 3_600.0


def node_names(nodes: int) -> list[str]:
    return [f"conf-{number + 1:04}" for number in range(nodes)]


class Node:
    def __init__(self, name: str) -> None:
        self.name = name
        self._seq = 0
        self._client: Client | None = None

    async def connect(self, port: int) -> None:
        client = self._client = await Client.connect(port, self.name, self._heard)
        await client.subscribe(f"fs1/down/{self.name}/#")
        now_ms = time.time_ns() // 1_000_000
        presence = Presence(state="online", boot=BOOT, conn=1)
        birth = Birth(
            protocol=1,
            agent_version="bench",
            boot=BOOT,
            conn=1,
            up_ms=0,
            ts=now_ms,
            group=GROUP,
            streams={"reports": StreamHead(epoch=EPOCH, head=0)},
            heartbeat_s=SILENT_S,
        )
        topics = [Up(node=self.name, kind=kind).build() for kind in ("presence", "birth")]
        packets = [
            publish_packet(topics[0], encode(presence), packet_id=1, retain=True),
            publish_packet(topics[1], encode(birth), packet_id=2),
        ]
        await client.publish_all(packets, 2)

    def _heard(self, topic: str, payload: bytes) -> None:
        if not topic.endswith("/desired/config") or self._client is None:
            return
        limit = MAX_CONFIG_BYTES + len(payload)
        desired = decode(DesiredConfig, inflate(payload), limit_bytes=limit)
        self._seq += 1
        report = ConfigReport(
            epoch=EPOCH,
            seq=self._seq,
            boot=BOOT,
            up_ms=self._seq,
            ts=time.time_ns() // 1_000_000,
            synced=True,
            rev=desired.rev,
            digest=desired.digest,
            state="applied",
            running=desired.digest,
            running_rev=desired.rev,
            effective=desired.digest,
        )
        said = Up(node=self.name, kind="rep", name="config").build()
        self._client.send(publish_packet(said, encode(report), packet_id=packet_id(self._seq)))


async def run(port: int, nodes: int) -> None:
    there = [Node(name) for name in node_names(nodes)]
    for node in there:
        await node.connect(port)
    await asyncio.Event().wait()


def main() -> int:
    try:
        asyncio.run(run(int(sys.argv[1]), int(sys.argv[2])))
    except (BenchError, OSError) as exc:
        sys.stderr.write(f"config_nodes: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
