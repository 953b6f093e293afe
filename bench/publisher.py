"""The publisher of the ingest measurement, a process of its own: ``python -m bench.publisher LOAD``.

LOAD is a ``Load`` as JSON; it prints a ``Sent`` as JSON. To a center it is some nodes, and is done
when the acknowledgements after the commit cover everything; to a plain broker it is one publisher
and one subscriber, and is done when the subscriber has everything.
"""

import asyncio
import gc
import sys
import time
from collections.abc import Callable
from dataclasses import asdict

import msgspec
from farshore_protocol.stream import StreamAck

from bench.errors import BenchError
from bench.mqtt import Client
from bench.records import EPOCH, Load, Sent, arrival_packets, node_names, record, record_packets

DEADLINE_S = 300.0

_ACK = msgspec.json.Decoder(dict[str, StreamAck])


class Goal:
    """Counts what has arrived; ``reached`` waits until it is so many."""

    def __init__(self) -> None:
        self._count: Callable[[], int] = lambda: 0
        self._wanted = 0
        self._event = asyncio.Event()

    def count_by(self, count: Callable[[], int]) -> None:
        self._count = count

    def look(self) -> None:
        if self._count() >= self._wanted:
            self._event.set()

    async def reached(self, wanted: int) -> None:
        self._wanted = wanted
        self._event.clear()
        self.look()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._event.wait()
        except TimeoutError as exc:
            raise BenchError(f"{self._count()} of {wanted} arrived in {DEADLINE_S:g} s") from exc


def covered(ack: bytes) -> int | None:
    """How many records an acknowledgement covers; None when it is of another stream."""
    word = _ACK.decode(ack).get("metrics")
    if word is None or word.epoch != EPOCH:
        return None
    return sum(last - first + 1 for first, last in word.ranges)


async def _nodes(load: Load, goal: Goal) -> list[Client]:
    """The nodes, connected and known to the center."""
    committed = dict.fromkeys(node_names(load), 0)
    goal.count_by(lambda: sum(committed.values()))

    def listener(node: str) -> Callable[[str, bytes], None]:
        def heard(topic: str, payload: bytes) -> None:
            if topic.endswith("/ack") and (count := covered(payload)) is not None:
                committed[node] = max(committed[node], count)
                goal.look()

        return heard

    clients = []
    for node in committed:
        client = await Client.connect(load.port, node, listener(node))
        await client.subscribe(f"fs1/down/{node}/#")
        await client.publish_all(arrival_packets(node, now_ms=_now_ms()), 2)
        clients.append(client)
    return clients


async def _one_to_one(load: Load, goal: Goal) -> list[Client]:
    """One publisher; a subscriber beside it counts what is new."""
    seen: set[bytes] = set()
    goal.count_by(lambda: len(seen))

    def heard(_topic: str, payload: bytes) -> None:
        seen.add(payload)
        goal.look()

    subscriber = await Client.connect(load.port, "subscriber", heard)
    await subscriber.subscribe("fs1/up/#")
    (name,) = node_names(load)
    return [await Client.connect(load.port, name)]


async def measure(load: Load) -> Sent:
    goal = Goal()
    now_ms = _now_ms()
    packets = [record_packets(node, load, now_ms=now_ms) for node in node_names(load)]
    clients = await (_one_to_one(load, goal) if load.plain else _nodes(load, goal))

    async def send(first: int, last: int | None) -> None:
        parts = [part[first:last] for part in packets]
        await asyncio.gather(
            *(
                client.publish_all(part, load.window)
                for client, part in zip(clients, parts, strict=True)
            )
        )

    await send(0, load.warm_up)
    await goal.reached(load.warm_up * load.nodes)
    started, cpu = time.perf_counter(), time.process_time()
    await send(load.warm_up, None)
    await goal.reached((load.warm_up + load.each) * load.nodes)
    sent = Sent(
        seconds=time.perf_counter() - started,
        client_cpu_s=time.process_time() - cpu,
        payload_bytes=len(record(1, count=1, now_ms=now_ms)),
    )
    for client in clients:
        client.close()
    return sent


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main() -> int:
    load = msgspec.json.decode(sys.argv[1], type=Load)
    gc.disable()  # nothing here is garbage, and the collector would look at every packet
    try:
        sent = asyncio.run(measure(load))
    except (BenchError, OSError) as exc:
        sys.stderr.write(f"publisher: {exc}\n")
        return 1
    sys.stdout.write(msgspec.json.encode(asdict(sent)).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
