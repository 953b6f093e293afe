"""The configuration room on a real database, its loops played step by step, under a manual clock."""

from typing import Any

from center_config.played import read
from farshore_center.config.address import parse as parse_layer
from farshore_center.config.fleet import OverlayLike, Place
from farshore_center.config.request import LayerChange, Signed
from farshore_center.config.room import ConfigRoom
from farshore_center.config.service import Accepted
from farshore_center.db.database import Database
from farshore_center.events import EventLog
from farshore_protocol.clock import ManualClock
from farshore_protocol.config.messages import ConfigReport, DesiredConfig
from farshore_protocol.link import Message
from farshore_protocol.topics import Down, parse
from sqlalchemy import Connection


class Overlay:
    def __init__(self, name: str, selector: str, priority: int) -> None:
        self.name, self.selector, self.priority = name, selector, priority


class PlayedGroups:
    """Overlays whose selectors are names of nodes, separated by blanks."""

    def __init__(self) -> None:
        self.saved: list[OverlayLike] = []

    def overlays(self) -> tuple[OverlayLike, ...]:
        return tuple(sorted(self.saved, key=lambda overlay: overlay.priority))

    async def members(self, selector: str, /) -> frozenset[str]:
        return frozenset(selector.split())

    @property
    def tree(self) -> set[str]:
        return {"eu", "eu/hamburg", "us", "europe"}


class Stage:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = ManualClock()
        self.groups = PlayedGroups()
        self.places: dict[str, Place] = {}
        self.online: set[str] = set()
        self.sent: list[tuple[str, DesiredConfig]] = []
        self.bytes: list[int] = []
        self.failure: Exception | None = None
        self.seq = 0
        self.restart()

    def restart(self) -> None:
        """The center after a crash: nothing is left but the database."""
        self.events = EventLog(self.database, self.clock.now_ms)
        self.room = ConfigRoom(
            self.database,
            self.events,
            self,
            self.groups,
            lambda: list(self.places.values()),
            lambda: self.online,
            now_ms=self.clock.now_ms,
        )

    async def send(self, message: Message) -> None:
        if self.failure is not None:
            raise self.failure
        topic = parse(message.topic)
        assert isinstance(topic, Down)
        assert (topic.kind, topic.name) == ("desired", "config")
        assert (message.qos, message.retain) == (1, False)
        self.sent.append((topic.node, read(message.payload)))
        self.bytes.append(len(message.payload))

    def add(self, *nodes: str, group: str = "eu", **labels: str) -> None:
        for node in nodes:
            self.places[node] = Place(node=node, group=group, labels=labels)
            self.online.add(node)

    async def put(self, layer: str, patch: dict[str, Any] | None) -> Accepted:
        change = LayerChange(address=parse_layer(layer), patch=patch)
        return await self.room.layers.put(change, Signed(author="ada"))

    async def step(self, seconds: float = 0) -> list[tuple[str, int]]:
        """Time passes, both loops look; what was sent then, as (node, rev)."""
        self.clock.advance(seconds)
        before = len(self.sent)
        await self.room.step()
        return [(node, desired.rev) for node, desired in self.sent[before:]]

    async def report(
        self, node: str, rev: int, of: str, state: Any = "applied", **more: Any
    ) -> None:
        self.seq += 1
        said = ConfigReport(
            epoch="e",
            seq=self.seq,
            boot="b",
            up_ms=1,
            ts=1,
            rev=rev,
            digest=of,
            state=state,
            **more,
        )

        def work(conn: Connection) -> None:
            self.events.append(conn, self.room.record_many(conn, [(node, said)]))

        await self.database.write(work)
        self.room.reported()

    async def kinds(self, node: str) -> list[str]:
        return [event.kind for event in await self.events.list(node=node)]

    async def config(self, node: str) -> dict[str, Any]:
        return (await self.room.documents([node]))[node]
