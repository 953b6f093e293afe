"""Sends each node its desired configuration until it answers.

In memory alone: what is to be sent stands in ``node_config``, written with the decision, and is
read before every sending. After a crash the pending rows and the nodes' births begin it again.
"""

import asyncio
import zlib
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import structlog
from farshore_protocol.codec import MAX_MESSAGE_BYTES, encode
from farshore_protocol.link import Message
from farshore_protocol.telemetry.batch import COMPRESS_ABOVE_BYTES
from farshore_protocol.topics import Down
from sqlalchemy import Connection

from farshore_center.config import node_store
from farshore_center.config.engine import NodeConfig
from farshore_center.config.settings import ConfigSettings
from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from farshore_center.sending import Downlink, Publisher, SendCounts, woken

log = structlog.get_logger(__name__)

BATCH = 500
_YIELD_EVERY = 50
_LEVEL = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A node that may have to be sent something. ``forced``: whatever its row's state says, until
    it reports; ``heard``: its last report when that was sent."""

    look_ms: int
    sends: int = 0
    forced: bool = False
    heard: tuple[str | None, int] | None = None


def wants_sending(row: NodeConfig | None, waiting: Waiting) -> bool:
    """Whether the node is to be sent its desired now. Pure."""
    if row is None or row.rev == 0 or row.digest is None or row.state == "ahead":
        return False
    if row.state == "pending":
        return True
    return waiting.forced and waiting.heard in (None, (row.epoch, row.seq))


class Delivery:
    def __init__(
        self,
        database: Database,
        downlink: Downlink,
        online: Callable[[], AbstractSet[str]],
        *,
        now_ms: Callable[[], int],
        settings: ConfigSettings,
    ) -> None:
        self._database = database
        self._online = online
        self._now_ms = now_ms
        self._settings = settings
        self._pace = settings.pace
        self._publisher = Publisher(downlink, "configurations", timeout_s=settings.send_timeout_s)
        self._waiting: dict[str, Waiting] = {}
        self._woken = asyncio.Event()

    @property
    def counts(self) -> SendCounts:
        return self._publisher.counts

    @property
    def waiting(self) -> int:
        """Nodes that will be looked at; some of them may have answered since."""
        return len(self._waiting)

    def want(self, nodes: Iterable[str], *, forced: bool = False) -> None:
        """These are looked at now, as if nothing had been sent."""
        now_ms = self._now_ms()
        for node in nodes:
            self._waiting[node] = Waiting(look_ms=now_ms, forced=forced)
        self._woken.set()

    def again(self, node: str) -> None:
        """What the node said does not fit. Once at once; a node that keeps to it, at its pace."""
        waiting = self._waiting.get(node)
        if waiting is None or waiting.sends <= 1:
            now_ms = self._now_ms()
            sends = 0 if waiting is None else waiting.sends
            self._waiting[node] = Waiting(look_ms=now_ms, sends=sends, forced=True)
            self._woken.set()

    def watch(self, node: str) -> None:
        """It may still answer by itself: looked at after the first pause."""
        if node not in self._waiting:
            look_ms = self._now_ms() + self._pace.pause_ms(1)
            self._waiting[node] = Waiting(look_ms=look_ms)
            self._woken.set()

    def forget(self, node: str) -> None:
        self._waiting.pop(node, None)

    def sent_to(self, node: str) -> bool:
        """Whether it was sent something that it has not answered long since."""
        waiting = self._waiting.get(node)
        return waiting is not None and waiting.sends > 0

    def wake(self) -> None:
        """Looks at the clock."""
        self._woken.set()

    async def run(self) -> None:
        """Until it is cancelled. A database that fails is tried again: what is due stays due."""
        while True:
            self._woken.clear()
            try:
                await self.round()
            except DatabaseError as exc:
                log.error("configurations can't be sent now", reason=str(exc))
                await asyncio.sleep(self._settings.retry_s)
                continue
            next_ms = min((waiting.look_ms for waiting in self._waiting.values()), default=None)
            due_in_s = None if next_ms is None else (next_ms - self._now_ms()) / 1000
            await woken(self._woken, due_in_s)

    async def round(self) -> None:
        """Everything that is due now."""
        now_ms = self._now_ms()
        online = self._online()
        due = [node for node, waiting in self._waiting.items() if waiting.look_ms <= now_ms]
        # A birth brings an absent one back at once; a heartbeat alone does not.
        later_ms = now_ms + self._pace.pause_ms(1)
        for node in due:
            if node not in online:
                self._waiting[node] = replace(self._waiting[node], look_ms=later_ms)
        here = [node for node in due if node in online]
        for start in range(0, len(here), BATCH):
            await self._send(here[start : start + BATCH])

    async def _send(self, nodes: list[str]) -> None:
        def load(conn: Connection) -> tuple[dict[str, NodeConfig], dict[str, bytes]]:
            rows = node_store.load(conn, nodes)
            digests = [row.digest for row in rows.values() if row.digest is not None]
            return rows, node_store.load_bodies(conn, digests)

        looked = {node: self._waiting.get(node) for node in nodes}
        rows, bodies = await self._database.read(load)
        messages = Messages(bodies)
        for number, node in enumerate(nodes, start=1):
            waiting, row = looked[node], rows.get(node)
            if waiting is None or self._waiting.get(node) is not waiting:
                continue  # somebody wants something newer of it
            if row is None or not wants_sending(row, waiting) or row.digest not in bodies:
                del self._waiting[node]
                continue
            sends = waiting.sends + 1
            self._waiting[node] = Waiting(
                look_ms=self._now_ms() + self._pace.pause_ms(sends),
                sends=sends,
                forced=waiting.forced,
                heard=(row.epoch, row.seq),
            )
            message = messages.build(row)
            if message is not None:
                await self._publisher.publish(message, again=sends > 1)
            if number % _YIELD_EVERY == 0:
                await asyncio.sleep(0)


class Messages:
    """Messages of one round. What nodes share, their configuration, is written and packed once: it
    stands first in the message, and the packing goes on from there for each."""

    def __init__(self, bodies: Mapping[str, bytes]) -> None:
        self._bodies = bodies
        self._begun: dict[str, tuple[bytes, bytes, zlib._Compress]] = {}

    def build(self, row: NodeConfig) -> Message | None:
        """None for one that can't travel; the checks before acceptance leave room for that."""
        begun = self._begin(row.digest or "")
        head, packed, compressor = begun
        rest = encode(
            {
                "rev": row.rev,
                "digest": row.digest,
                "group": row.group,
                "labels": dict(row.labels),
            }
        )
        tail = b"," + rest[1:]
        payload = head + tail
        if len(payload) > COMPRESS_ABOVE_BYTES:
            own = compressor.copy()
            payload = packed + own.compress(tail) + own.flush()
        if len(payload) > MAX_MESSAGE_BYTES:
            log.error("a configuration is too large to be sent", node=row.node, bytes=len(payload))
            return None
        topic = Down(node=row.node, kind="desired", name="config").build()
        return Message(topic=topic, payload=payload, qos=1)

    def _begin(self, digest: str) -> tuple[bytes, bytes, "zlib._Compress"]:
        begun = self._begun.get(digest)
        if begun is None:
            head = b'{"config":' + zlib.decompress(self._bodies[digest])
            compressor = zlib.compressobj(_LEVEL)
            begun = self._begun[digest] = (head, compressor.compress(head), compressor)
        return begun
