"""Sends each node what it has to do until it says that it has it.

In memory alone: what is to be sent stands in the grants of the node, whose ``rev`` grows in the transaction
that changes one of them. After a crash the revisions that were not heard begin it again.
"""

import asyncio
import zlib
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet

import structlog
from farshore_protocol.codec import MAX_MESSAGE_BYTES, encode
from farshore_protocol.link import Message
from farshore_protocol.tasks import DesiredTasks, Grant, TaskSpec
from farshore_protocol.tasks.messages import MAX_TASKS_BYTES
from farshore_protocol.telemetry.batch import COMPRESS_ABOVE_BYTES
from farshore_protocol.topics import Down
from sqlalchemy import Connection

from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from farshore_center.sending import Downlink, Publisher, SendCounts, woken
from farshore_center.tasks import store
from farshore_center.tasks.deadlines import Deadlines
from farshore_center.tasks.hearing import heard_document
from farshore_center.tasks.records import Granted, NodeTasks
from farshore_center.tasks.settings import TaskSettings

log = structlog.get_logger(__name__)

BATCH = 200


class Delivery:
    def __init__(
        self,
        database: Database,
        downlink: Downlink,
        online: Callable[[], AbstractSet[str]],
        *,
        now_ms: Callable[[], int],
        now_s: Callable[[], float],
        settings: TaskSettings,
    ) -> None:
        self._database = database
        self._online = online
        self._now_ms = now_ms
        self._now_s = now_s
        self._settings = settings
        self._pace = settings.pace
        self._publisher = Publisher(downlink, "tasks", timeout_s=settings.send_timeout_s)
        self._due: Deadlines[str] = Deadlines()
        self._sends: dict[str, int] = {}
        self._births: dict[str, int] = {}
        self._woken = asyncio.Event()

    @property
    def counts(self) -> SendCounts:
        return self._publisher.counts

    @property
    def waiting(self) -> int:
        """Nodes that will be looked at; some of them may have answered since."""
        return len(self._due)

    def want(self, nodes: Iterable[str]) -> None:
        """These are looked at now, as if nothing had been sent."""
        now_s = self._now_s()
        for node in sorted(nodes):
            self._sends.pop(node, None)
            self._due.put(node, now_s)
        self._woken.set()

    def arrived(self, node: str, rev: int) -> None:
        """A node has said at its birth which document it has; 0: none."""
        self._births[node] = rev
        self._woken.set()

    def wake(self) -> None:
        """Looks at the clock."""
        self._woken.set()

    async def run(self) -> None:
        """Until it is cancelled. A database that fails is tried again: what is due stays due."""
        self.want(await self._database.read(store.unheard))
        while True:
            self._woken.clear()
            try:
                await self.round()
            except DatabaseError as exc:
                log.error("tasks can't be sent now", reason=str(exc))
                await asyncio.sleep(self._settings.retry_s)
                continue
            next_s = self._due.next_s()
            await woken(self._woken, None if next_s is None else next_s - self._now_s())

    async def round(self) -> None:
        """Everything that is due now."""
        await self._greet()
        while due := self._due.take_due(self._now_s(), BATCH):
            online = self._online()
            # One that is not there is sent it at its birth.
            here = [node for node in due if node in online]
            try:
                await self._send(here)
            except DatabaseError:
                for node in due:
                    self._due.put(node, self._now_s())
                raise

    async def _greet(self) -> None:
        births, self._births = self._births, {}
        if not births:
            return
        try:
            rows = await self._database.read(lambda conn: store.load_nodes(conn, births))
            said = {
                node: heard_document(row, rev)
                for node, rev in births.items()
                if (row := rows.get(node) or NodeTasks(node=node)) and (rev or row.rev)
            }
            changed = [row for node, row in said.items() if row != rows.get(node)]
            if changed:
                await self._database.write(lambda conn: _save_heard(conn, births))
        except DatabaseError:
            self._births = births | self._births
            raise
        self.want(births)

    async def _send(self, nodes: list[str]) -> None:
        def load(
            conn: Connection,
        ) -> tuple[dict[str, NodeTasks], dict[str, list[Granted]], dict[tuple[str, int], TaskSpec]]:
            rows = store.load_nodes(conn, nodes)
            wanted = [node for node, row in rows.items() if row.heard_rev < row.rev]
            held = store.grants_on(conn, wanted)
            since_ms = self._now_ms() - round(self._settings.keep_ended_s * 1000)
            for node, ended in store.ended_on(
                conn, wanted, since_ms, self._settings.keep_ended
            ).items():
                held.setdefault(node, []).extend(ended)
            keys = {(grant.task, grant.revision) for each in held.values() for grant in each}
            return rows, held, store.specs(conn, keys)

        rows, held, specs = await self._database.read(load)
        for node in nodes:
            row = rows.get(node)
            if row is None or row.heard_rev >= row.rev:
                self._sends.pop(node, None)
                continue
            sends = self._sends[node] = self._sends.get(node, 0) + 1
            self._due.put(node, self._now_s() + self._pace.pause_s(sends))
            message = build(row, held.get(node, ()), specs)
            if message is not None:
                await self._publisher.publish(message, again=sends > 1)


def _save_heard(conn: Connection, births: Mapping[str, int]) -> None:
    rows = store.load_nodes(conn, births)
    said = [
        heard_document(rows.get(node) or NodeTasks(node=node), rev)
        for node, rev in births.items()
        if rev or node in rows
    ]
    store.save_nodes(conn, said)


def build(
    row: NodeTasks, held: Iterable[Granted], specs: Mapping[tuple[str, int], TaskSpec]
) -> Message | None:
    """``desired/tasks``; None for one that can't travel. ``held``: what has ended stands behind the rest, the
    newest first: where there is no room for all of it, the oldest is left out."""
    grants = [
        (each.final, _grant(each, specs[each.task, each.revision]))
        for each in held
        if (each.task, each.revision) in specs
    ]
    while True:
        payload = _packed(DesiredTasks(rev=row.rev, grants=tuple(grant for _, grant in grants)))
        if payload is not None:
            break
        if not grants or not grants[-1][0]:
            log.error("what a node has to do is too large to be sent", node=row.node)
            return None
        grants.pop()
    topic = Down(node=row.node, kind="desired", name="tasks").build()
    return Message(topic=topic, payload=payload, qos=1)


def _grant(each: Granted, spec: TaskSpec) -> Grant:
    """One that has ended is told to end: a node that has forgotten it must not begin it again."""
    ends = each.final or each.want == "stop"
    return Grant(
        task=each.task,
        instance=each.instance,
        attempt=each.attempt,
        epoch=each.epoch,
        spec=spec,
        want="stop" if ends else "run",
        reason=each.why or ("asked" if ends else None),  # type: ignore[arg-type] # one of StopReason
        gpus=each.gpus,
    )


def _packed(document: DesiredTasks) -> bytes | None:
    """None: it is larger than a message, or than a document may be."""
    payload = encode(document)
    if len(payload) > MAX_TASKS_BYTES:
        return None
    if len(payload) > COMPRESS_ABOVE_BYTES:
        packed = zlib.compress(payload)
        payload = packed if len(packed) < len(payload) else payload
    return payload if len(payload) <= MAX_MESSAGE_BYTES else None
