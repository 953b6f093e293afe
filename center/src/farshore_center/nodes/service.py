"""Presence, birth, heartbeats and time requests of nodes, as they come in; and the loop that waits
for those that do not.

A change of standing is decided in ``presence.py``, written with its event in one transaction, and
then announced.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import msgspec
import structlog
from farshore_protocol.codec import encode
from farshore_protocol.errors import MessageError
from farshore_protocol.link import Message
from farshore_protocol.messages import (
    UNKNOWN_NODE,
    Birth,
    FactsReport,
    Heartbeat,
    Presence,
    TimeAnswer,
    TimeRequest,
)
from farshore_protocol.topics import Down
from sqlalchemy import Connection

from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from farshore_center.events.model import Draft, Event
from farshore_center.events.service import EventLog
from farshore_center.groups import store as group_store
from farshore_center.groups.tree import GroupTree
from farshore_center.nodes import presence, store
from farshore_center.nodes.presence import Change, Standing
from farshore_center.nodes.registry import NodeEntry, Registry, load

log = structlog.get_logger(__name__)

WORD = "its own word or its will"

WRITTEN_AT_ONCE = 50
"""Nodes in one work of the writer: a command that comes meanwhile need not wait for a thousand."""


class Downlink(Protocol):
    async def send(self, message: Message) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """``write_every_s``: how often last-seen times and queues are written."""

    watch_every_s: float = 1.0
    write_every_s: float = 10.0


def _nobody_waits(_node: str) -> None:
    """Until the commands' room listens for arrivals."""


def _nobody_listens(_nodes: frozenset[str] | None) -> None:
    """Until the groups' room listens for changes."""


class Listener(Protocol):
    """Told at once of every message of a node, and of every change of its presence, before that is
    written; ``told``: by its own word or its will, not by silence."""

    def heard(self, node: str, /) -> None: ...

    def stood(self, node: str, online: bool, told: bool, /) -> None: ...


class NodeService:
    def __init__(
        self,
        database: Database,
        events: EventLog,
        downlink: Downlink,
        *,
        now_ms: Callable[[], int],
        now_s: Callable[[], float],
        settings: NodeSettings | None = None,
    ) -> None:
        self._database = database
        self.events = events
        self._downlink = downlink
        self.now_ms = now_ms
        self._now_s = now_s
        self._settings = settings or NodeSettings()
        self.registry = Registry()
        self.tree = GroupTree()
        self.arrived: Callable[[str], None] = _nobody_waits
        self.changed: Callable[[frozenset[str] | None], None] = _nobody_listens
        """Told after group, labels or facts of nodes have changed."""
        self.listeners: list[Listener] = []
        self._dirty: set[str] = set()
        self._unwritten: list[Draft] = []
        self.failing = False
        """Whether the last write was impossible."""

    async def start(self) -> None:
        self.registry.fill(await self._database.read(load))
        self.tree.fill(await self._database.read(group_store.load_groups))
        for path in {entry.group for entry in self.registry.all()} | set(self.tree.paths()):
            self.tree.grow(path, self.now_ms(), "node")

        def work(connection: Connection) -> None:
            store.nobody_is_online(connection)
            store.lay_out(connection)

        await self._database.write(work)
        await self._write([], [])

    # What nodes say

    def heard(self, node: str) -> None:
        """Any message of a node but its presence, which may be a will or retained."""
        entry = self.registry.get(node)
        if entry is not None:
            entry.last_seen_ms = self.now_ms()
            entry.standing = presence.heard(entry.standing, now_s=self._now_s())
            self._dirty.add(node)
            for listener in self.listeners:
                listener.heard(node)

    async def born(self, node: str, birth: Birth) -> None:
        entry, new = self.registry.obtain(node, self.now_ms())
        standing, change = presence.born(
            entry.standing,
            boot=birth.boot,
            conn=birth.conn,
            heartbeat_s=birth.heartbeat_s,
            now_s=self._now_s(),
        )
        if standing is entry.standing:
            return
        before = (entry.group, entry.labels)
        if entry.group_by == "node":
            entry.group = birth.group
            self.tree.grow(birth.group, self.now_ms(), "node")
        if entry.labels_by == "node":
            entry.labels = dict(birth.labels)
        entry.agent_version, entry.protocol = birth.agent_version, birth.protocol
        entry.capabilities = asdict(birth.capabilities)
        entry.revisions, entry.digests = dict(birth.revisions), dict(birth.digests)
        data = {"boot": birth.boot, "conn": birth.conn, "agent_version": birth.agent_version}
        drafts = [self._draft("node.registered", node, {"group": entry.group})] if new else []
        drafts.append(self._draft("node.birth", node, data))
        await self._stand(entry, standing, change, drafts, reason="birth")
        if new or before != (entry.group, entry.labels):
            self.changed(frozenset({node}))
        self.arrived(node)

    async def said(self, node: str, word: Presence) -> None:
        entry = self.registry.get(node)
        if entry is None:
            return  # the birth that follows makes it known
        standing, change = presence.said(
            entry.standing,
            online=word.state == "online",
            boot=word.boot,
            conn=word.conn,
            now_s=self._now_s(),
        )
        if standing is entry.standing:
            return  # a late word
        entry.standing = standing
        if standing.online:
            entry.last_seen_ms = self.now_ms()
            self._dirty.add(node)
        if change is not None:
            await self._stand(entry, standing, change, [], reason=WORD)

    async def beat(self, node: str, word: Heartbeat) -> None:
        """Raises MessageError ``unknown_node`` before a birth; the node then says its birth again.

        Of each boot: while the center was away from an external broker, a birth may have been said
        that nobody heard, and a node that started anew then would be thought dead for ever.
        """
        entry = self.registry.get(node)
        if entry is None or word.boot != entry.standing.boot:
            raise MessageError(
                UNKNOWN_NODE, f"heartbeat of {node!r} in a boot of which no birth is known"
            )
        standing, change = presence.beat(
            entry.standing, boot=word.boot, conn=word.conn, now_s=self._now_s()
        )
        if standing is entry.standing:
            return  # a late word of an older connection
        entry.queue = msgspec.to_builtins(word.queue)
        entry.clock_offset_ms = word.offset_ms
        entry.standing = standing
        if change is not None:
            await self._stand(entry, standing, change, [], reason="heartbeat")

    async def asked_time(self, node: str, request: TimeRequest) -> None:
        received_ms = self.now_ms()
        answer = TimeAnswer(
            boot=request.boot,
            up_ms=request.up_ms,
            ts=request.ts,
            received_ms=received_ms,
            sent_ms=self.now_ms(),
        )
        topic = Down(node=node, kind="time").build()
        await self._downlink.send(Message(topic=topic, payload=encode(answer)))

    def facts_committed(self, node: str, report: FactsReport) -> None:
        entry = self.registry.get(node)
        same = entry is not None and entry.facts_digest == report.digest
        if entry is not None:
            entry.facts_digest = report.digest
        if not same:
            self.changed(frozenset({node}))

    # Changes

    def _draft(self, kind: str, node: str, data: dict[str, Any]) -> Draft:
        return Draft(kind=kind, node=node, data=data, at_ms=self.now_ms())

    async def _stand(
        self,
        entry: NodeEntry,
        standing: Standing,
        change: Change,
        drafts: list[Draft],
        *,
        reason: str,
    ) -> None:
        entry.standing = standing
        entry.last_seen_ms = self.now_ms() if standing.online else entry.last_seen_ms
        if change is not None:
            drafts.append(self._changed(entry, change, reason))
        await self._write_or_later([entry], drafts)

    def _changed(
        self, entry: NodeEntry, change: Literal["online", "offline"], reason: str
    ) -> Draft:
        log.info("node is " + change, node=entry.name, reason=reason)
        for listener in self.listeners:
            listener.stood(entry.name, change == "online", reason == WORD)
        return self._draft(f"node.{change}", entry.name, {"reason": reason})

    async def write(self, entry: NodeEntry, drafts: list[Draft]) -> None:
        """The entry as it stands, and the events, in one transaction; then announces them.

        Raises DatabaseError, and then nothing was written.
        """
        await self._write([entry], drafts)

    async def _write(self, entries: Iterable[NodeEntry], drafts: list[Draft]) -> None:
        rows = [entry.row() for entry in entries]
        new_groups = self.tree.unstored()

        def work(connection: Connection) -> list[Event]:
            group_store.save_groups(connection, new_groups)
            store.upsert(connection, rows)
            return self.events.append(connection, drafts)

        try:
            written = await self._database.write(work)
        except DatabaseError:
            self.failing = True
            raise
        self.failing = False
        self.tree.stored(new_groups)
        self.events.announce(written)

    async def _write_or_later(self, entries: list[NodeEntry], drafts: list[Draft]) -> None:
        """What can't be written now is written with the next last-seen times."""
        try:
            await self._write(entries, drafts)
        except DatabaseError as exc:
            self._dirty |= {entry.name for entry in entries}
            self._unwritten += drafts
            log.error("changes of nodes can't be written yet", nodes=len(entries), error=str(exc))

    async def run(self) -> None:
        """Waits for silence to make nodes offline, and writes what was only noted."""
        written_s = self._now_s()
        while True:
            await asyncio.sleep(self._settings.watch_every_s)
            await self.look()
            now_s = self._now_s()
            if now_s - written_s >= self._settings.write_every_s or self._unwritten:
                written_s = now_s
                await self._write_dirty()

    async def look(self) -> None:
        """Makes those offline whose deadline has passed, all in one transaction."""
        now_s = self._now_s()
        fallen, drafts = [], []
        for entry in self.registry.all():
            standing, change = presence.passed(entry.standing, now_s=now_s)
            if change is not None:
                entry.standing = standing
                fallen.append(entry)
                drafts.append(self._changed(entry, change, "silence"))
        if fallen:
            await self._write_or_later(fallen, drafts)

    async def _write_dirty(self) -> None:
        names, self._dirty = self._dirty, set()
        drafts, self._unwritten = self._unwritten, []
        entries = [e for name in names if (e := self.registry.get(name)) is not None]
        for start in range(0, max(len(entries), bool(drafts)), WRITTEN_AT_ONCE):
            await self._write_or_later(entries[start : start + WRITTEN_AT_ONCE], drafts)
            drafts = []

    async def stop(self) -> None:
        await self._write_dirty()
