"""A room of tasks on a real database, with nodes that a test plays and clocks that it moves."""

import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import orjson
from farshore_center.db.database import Database
from farshore_center.events import EventLog
from farshore_center.groups.selection import Selection
from farshore_center.groups.tree import GroupTree
from farshore_center.nodes import store as node_store
from farshore_center.nodes.model import nodes
from farshore_center.nodes.registry import Registry
from farshore_center.tasks.hearing import Moment
from farshore_center.tasks.reports import Word
from farshore_center.tasks.room import TaskRoom
from farshore_center.tasks.settings import TaskSettings
from farshore_protocol.link import Message
from farshore_protocol.tasks import DesiredTasks, Grant, Held, LeaseRequest, TaskEvent, TasksReport
from sqlalchemy import Connection, update

GIB = 2**30


@dataclass
class Clock:
    now_s: float = 1_000.0

    def ms(self) -> int:
        return 1_800_000_000_000 + round(self.now_s * 1000)

    def s(self) -> float:
        return self.now_s


@dataclass
class Node:
    """Does what it is told, at once, unless ``deaf`` (it takes nothing) or ``rejects`` with a reason."""

    name: str
    rev: int = 0
    deaf: bool = False
    slow: bool = False
    rejects: str = ""
    holds: dict[tuple[str, int, int], Held] = field(default_factory=dict)
    document: DesiredTasks | None = None

    def take(self, payload: bytes) -> list[TaskEvent]:
        """What it says of the document."""
        if self.deaf:
            return []
        raw = payload if payload[:1] == b"{" else zlib.decompress(payload)
        document = self.document = msgspec.json.decode(raw, type=DesiredTasks)
        self.rev = document.rev
        said = []
        for grant in document.grants:
            key = (grant.task, grant.instance, grant.epoch)
            held = self.holds.get(key)
            ended = held is not None and held.state in ("stopped", "succeeded", "failed")
            if grant.want == "stop" and not ended and not self.slow:
                said.append(self.say(grant, "stopped"))
            elif held is None and grant.want == "run":
                state = "rejected" if self.rejects else "running"
                said.append(self.say(grant, state, self.rejects or None))
        return said

    def say(
        self, grant: Grant, state: Any, reason: str | None = None, exit_code: int | None = None
    ) -> TaskEvent:
        word = TaskEvent(
            task=grant.task,
            instance=grant.instance,
            attempt=grant.attempt,
            epoch=grant.epoch,
            state=state,
            at_ms=0,
            reason=reason,
            exit_code=exit_code,
            code="no_room" if state == "rejected" else None,
        )
        self.holds[grant.task, grant.instance, grant.epoch] = Held(
            task=grant.task,
            instance=grant.instance,
            attempt=grant.attempt,
            epoch=grant.epoch,
            state=state,
            exit_code=exit_code,
        )
        return word

    def report(self) -> TasksReport:
        return TasksReport(
            epoch="e", seq=1, boot="b", up_ms=0, ts=0, rev=self.rev, held=tuple(self.holds.values())
        )


class Stage:
    """``room`` is played by ``step``: it decides and sends, nodes answer, until nothing more is said."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.clock = Clock()
        self.database = Database(f"sqlite:///{path / 'center.db'}")
        self.registry = Registry()
        self.nodes: dict[str, Node] = {}
        self.settings = replace(TaskSettings(settle_s=0.0), **settings)
        self.sent: list[Message] = []
        self.room: TaskRoom

    async def start(self) -> "Stage":
        await self.database.start()
        self.make_room()
        await self.room.start()
        return self

    def make_room(self) -> None:
        self.room = TaskRoom(
            self.database,
            EventLog(self.database, self.clock.ms),
            self,
            self.registry,
            Selection(self.database, self.registry, saved=lambda _: None, names=tuple),
            GroupTree(),
            now_ms=self.clock.ms,
            now_s=self.clock.s,
            held=lambda: False,
            rng=Random(0),
            settings=self.settings,
        )

    async def restart(self) -> None:
        """Another center begins on the same database."""
        self.make_room()
        await self.room.start()
        for node in self.nodes.values():
            self.room.stood(node.name, True, False)
            self.room.arrived(node.name, node.rev)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def node(
        self, name: str, *, cores: Any = 2, group: str = "", drivers: tuple[str, ...] = ("process",)
    ) -> Node:
        made = self.nodes[name] = Node(name)
        entry, _ = self.registry.obtain(name, self.clock.ms())
        entry.group = group
        entry.capabilities = {"drivers": list(drivers)}
        facts = {"cpu": {"cores_logical": cores}, "mem": {"total_bytes": 64 * GIB}}

        def write(conn: Connection) -> None:
            node_store.upsert(conn, [entry.row()])
            text = orjson.dumps(facts)
            conn.execute(update(nodes).where(nodes.c.name == name).values(facts=text))

        await self.database.write(write)
        self.beat(name)
        self.room.stood(name, True, False)
        self.room.arrived(name, 0)
        self.room.changed([name])
        return made

    def beat(self, *names: str) -> None:
        """These are heard."""
        for name in names or self.nodes:
            self._stands(name)
            self.room.heard(name)

    def shown(self, name: str) -> None:
        """A broker says of it that it is online; itself it says nothing."""
        self._stands(name)
        self.room.stood(name, True, True)

    def _stands(self, name: str) -> None:
        entry = self.registry.get(name)
        assert entry is not None
        standing = replace(entry.standing, online=True, boot="b")
        deadline_s = self.clock.now_s + standing.patience_s()
        entry.standing = replace(standing, deadline_s=deadline_s)

    def away(self, name: str) -> None:
        """It says that it goes."""
        entry = self.registry.get(name)
        assert entry is not None
        entry.standing = replace(entry.standing, online=False)
        self.room.stood(name, False, True)

    def back(self, name: str) -> None:
        self.beat(name)
        self.room.stood(name, True, False)
        self.room.arrived(name, self.nodes[name].rev)

    async def put(self, name: str, **spec: Any) -> None:
        raw = {"kind": "service", "driver": "process", "run": {"argv": ["/bin/x"]}, **spec}
        await self.room.service.put(name, raw, None, "ada")

    async def step(self) -> None:
        """Until nobody has anything to say."""
        while True:
            await self.room.step()
            sent, self.sent = self.sent, []
            if not sent:
                return
            for message in sent:
                node = self.nodes[message.topic.split("/")[2]]
                if not message.topic.endswith("/lease") and not node.deaf:
                    words: list[Any] = [*node.take(message.payload), node.report()]
                    await self.say(node.name, *words)

    async def say(self, node: str, *words: Any) -> None:
        said = [Word(node, word, Moment(self.clock.ms())) for word in words]
        await self.database.write(lambda conn: self.room.record_many(conn, said))
        self.room.reported()

    async def leases(self, node: Node) -> None:
        held = tuple(key for key, each in node.holds.items() if each.state == "running")
        await self.room.asked(node.name, LeaseRequest(boot="b", up_ms=1, held=held))

    async def later(self, seconds: float, *heard: str) -> None:
        """Time passes, with the nodes (all, if none are named) heard at its end."""
        self.clock.now_s += seconds
        self.beat(*heard)
        self.room.wake()
        await self.step()

    async def instances(self, name: str) -> list[dict[str, Any]]:
        return list((await self.room.reader.get(name))["instances"])

    async def where(self, name: str) -> list[tuple[str | None, str]]:
        """Node and state of each instance; a pending one has no node."""
        return [
            (each["node"] if each["state"] != "pending" else None, each["state"])
            for each in await self.instances(name)
        ]

    async def explained(self, name: str, instance: int = 0) -> dict[str, Any]:
        found = await self.room.reader.explain(name, instance)
        return dict(found["instances"][0])

    async def lines(self, name: str) -> list[tuple[str, str | None, str | None]]:
        """State, node and reason of its history."""
        rows = (await self.room.reader.history(name))["items"]
        return [(row["state"], row["node"], row["reason"]) for row in rows]
