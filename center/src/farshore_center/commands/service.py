"""Commands for the rest of the center: make, look at, cancel; take in what nodes report.

It does not know HTTP, and it does not choose nodes: the nodes are named when it is asked.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, replace
from typing import Any, TypeVar

import structlog
from farshore_protocol.commands import CommandReport
from farshore_protocol.ids import Ids
from sqlalchemy import Connection

from farshore_center.api.cursors import read_cursor, write_cursor
from farshore_center.api.problems import Problem
from farshore_center.commands import engine, store
from farshore_center.commands.announced import Announced, NothingAnnounced, with_announced
from farshore_center.commands.dispatch import Dispatcher, Downlink
from farshore_center.commands.engine import Target
from farshore_center.commands.erasing import Eraser
from farshore_center.commands.questions import Questions
from farshore_center.commands.reports import drafts_of, record_many
from farshore_center.commands.request import (
    CheckedCommand,
    NewCommand,
    cancel_request,
    check_key,
    checked,
    digest,
)
from farshore_center.commands.settings import CommandSettings
from farshore_center.commands.vanished import Vanished
from farshore_center.commands.views import Cancellation, CommandPage, CommandView, TargetView
from farshore_center.commands.waiting import until_done
from farshore_center.db.database import Database
from farshore_center.events import Draft, Event, EventLog

log = structlog.get_logger(__name__)

T = TypeVar("T")


class CommandService:
    def __init__(
        self,
        database: Database,
        events: EventLog,
        downlink: Downlink,
        online: Callable[[], AbstractSet[str]],
        *,
        now_ms: Callable[[], int],
        ids: Ids,
        settings: CommandSettings | None = None,
        announced: Announced | None = None,
    ) -> None:
        """`announced`: which verbs nodes have; without it, each may have any."""
        self.announced = announced or NothingAnnounced()
        self._database = database
        self._events = events
        self._now_ms = now_ms
        self._ids = ids
        settings = settings or CommandSettings()
        self._eraser = Eraser(database, now_ms=now_ms, settings=settings)
        self._dispatcher = Dispatcher(
            database,
            events,
            downlink,
            online,
            now_ms=now_ms,
            settings=settings,
            announced=self.announced,
        )
        self._questions = Questions(database, downlink, online, now_ms=now_ms, settings=settings)
        self.vanished = Vanished(database, events, online, now_ms=now_ms, settings=settings)
        self._created = self._cancelled = self._reports = self._strays = 0
        self._under_way: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        """Sends, expires, asks, erases and gives up until it is cancelled; what is left of an earlier
        life included."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._dispatcher.run(), name="dispatcher of commands")
            group.create_task(self._questions.run(), name="questions about commands")
            group.create_task(self._eraser.run(), name="eraser of secret commands")
            group.create_task(self.vanished.run(), name="commands of vanished nodes")

    def node_arrived(self, node: str) -> None:
        """On a node's birth: what waits for it is sent at once; what it has is asked for later."""
        self._dispatcher.node_arrived(node)
        self._questions.node_arrived(node)

    async def create(self, request: NewCommand, idempotency_key: str | None = None) -> CommandView:
        """Makes a command, or finds the one that the key has made before (`repeated`)."""
        command = checked(with_announced(request, self.announced))
        if idempotency_key is not None:
            check_key(idempotency_key)
        return await self._finish(self._create(command, idempotency_key))

    async def _create(self, command: CheckedCommand, key: str | None) -> CommandView:
        def work(conn: Connection) -> tuple[CommandView, list[Event]]:
            earlier = _earlier(conn, key, command.digest)
            if earlier is not None:
                return earlier, []
            view, draft = self.add(conn, command, self._now_ms(), key)
            return view, self._events.append(conn, [draft])

        view, events = await self._database.write(work)
        if not view.repeated:
            self._created += 1
            log.info("command created", command=view.id, verb=view.verb, targets=len(command.nodes))
            self._events.announce(events)
            self._dispatcher.look_now((view.id, node) for node in command.nodes)
            if command.secret:
                self._eraser.there_is_one()
        return view

    def add(
        self, conn: Connection, command: CheckedCommand, now_ms: int, key: str | None = None
    ) -> tuple[CommandView, Draft]:
        """A command as part of somebody's transaction; ``added`` is called after its commit."""
        view, row = _new(command, self._ids.command(now_ms), now_ms)
        row |= {"idempotency_key": key, "request_digest": command.digest}
        store.add_commands(conn, [row])
        store.add_targets(conn, [each.target for each in view.targets or ()])
        data = {"verb": view.verb, "targets": len(command.nodes), "by": command.by}
        return view, Draft(kind="command.created", command=view.id, data=data, at_ms=now_ms)

    def added(self, view: CommandView) -> None:
        """It was committed: its targets are looked at now."""
        self._created += 1
        self._dispatcher.look_now((view.id, t.target.node) for t in view.targets or ())

    def withdraw(
        self, conn: Connection, keys: Sequence[tuple[str, str]], now_ms: int
    ) -> tuple[list[tuple[str, str]], list[Draft]]:
        """Cancels, of the targets (command id and node), those that were not sent yet, as part of
        somebody's transaction; which, and the events."""
        found = store.load_targets(conn, keys).values()
        unsent = [target for target in found if target.state == "queued"]
        changed = [each for t in unsent if (each := engine.cancel(t, now_ms)) is not None]
        store.save_targets(conn, changed)
        self._cancelled += len(changed)
        return [each.key for each in changed], drafts_of(changed, now_ms)

    async def find_repeated(self, request: NewCommand, key: str) -> CommandView | None:
        """What the key has made; Problem when that was for another request.

        Does not look at the request's nodes: what a choice means may have changed since.
        """
        check_key(key)
        asked = digest(request)
        return await self._database.read(lambda conn: _earlier(conn, key, asked))

    async def get(self, command_id: str, wait_s: float = 0.0) -> CommandView:
        """With `wait_s` as soon as it is done, and as it is after that time when it is not."""
        if wait_s:
            done = await until_done(self._database, self._events, command_id, wait_s)
            if done is not None:
                return done
        view = await self._database.read(lambda conn: store.view(conn, command_id))
        if view is None:
            raise _unknown(command_id)
        return view

    async def cancel(self, command_id: str) -> Cancellation:
        """Cancels the targets that were not sent yet, and gives the nodes of those that were the command
        `cancel`, which lasts like any command; Problem when every target is at its end."""
        return await self._finish(self._cancel(command_id))

    async def _cancel(self, command_id: str) -> Cancellation:
        def work(conn: Connection) -> tuple[list[Target], CommandView | None, list[Event]]:
            targets = store.targets_of(conn, command_id)
            if not targets:
                raise _unknown(command_id)
            now_ms = self._now_ms()
            changed = [t for t in (engine.cancel(t, now_ms) for t in targets) if t is not None]
            if not changed:
                raise _nothing_to_cancel(targets)
            store.save_targets(conn, changed)
            cancelled = [target for target in changed if not target.cancelling]
            drafts = drafts_of(cancelled, now_ms)
            going = [target.node for target in changed if target.cancelling]
            asked_by = None
            if going:
                order = store.orders(conn, [command_id])[command_id]
                request = cancel_request(
                    command_id,
                    order.verb,
                    going,
                    left_s=(targets[0].expires_ms - now_ms) / 1000,
                    timeout_s=order.timeout_s,
                )
                asked_by, draft = self.add(conn, request, now_ms)
                drafts.append(draft)
            return cancelled, asked_by, self._events.append(conn, drafts)

        cancelled, asked_by, events = await self._database.write(work)
        self._cancelled += len(cancelled)
        log.info(
            "command cancelled",
            command=command_id,
            targets=len(cancelled),
            asked_by=None if asked_by is None else asked_by.id,
        )
        self._events.announce(events)
        if asked_by is not None:
            self._created += 1
            self._dispatcher.look_now((asked_by.id, t.target.node) for t in asked_by.targets or ())
        view = await self.get(command_id)
        left = tuple(t.target for t in view.targets or () if t.target.state != "cancelled")
        return Cancellation(
            command=view, not_cancelled=left, asked_by=None if asked_by is None else asked_by.id
        )

    def record_many(
        self, conn: Connection, pairs: Sequence[tuple[str, CommandReport]]
    ) -> list[Draft]:
        """Accepted reports of many nodes in bulk; the events are the caller's to append."""
        recorded = record_many(conn, pairs, self._now_ms())
        self._reports += len(pairs)
        self._strays += recorded.strays
        return recorded.drafts

    def forget(self, conn: Connection, node: str) -> list[Draft]:
        """Inside the transaction that deletes a node: what it has not ended is ended; the events."""
        now_ms = self._now_ms()
        open_targets = store.open_targets(conn, node)
        ended = [t for t in (engine.forget(t, now_ms) for t in open_targets) if t is not None]
        store.save_targets(conn, ended)
        return drafts_of(ended, now_ms)

    # After a restore

    def hold(self, conn: Connection) -> int:
        """What is unanswered is not sent until it is released: the world went on meanwhile."""
        return store.hold(conn, engine.HELD, self._now_ms())

    def release(self, conn: Connection) -> int:
        return store.release(conn)

    def count_held(self, conn: Connection) -> int:
        return store.count_held(conn)

    def released(self) -> None:
        """After the commit: what was held is looked at now."""
        self._dispatcher.look_at_all()

    def stats(self) -> dict[str, int]:
        """Counts since the start; `waiting` is how many targets will be looked at."""
        return {
            "created": self._created,
            "cancelled": self._cancelled,
            "reports": self._reports,
            "strays": self._strays,
            "waiting": self._dispatcher.waiting,
            "asked": self._questions.asked,
            "vanished": self.vanished.given_up,
            **asdict(self._dispatcher.counts),
        }

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Whoever asked may go away; what was committed must still be announced and sent."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def list(self, limit: int = 50, cursor: str | None = None) -> CommandPage:
        """Without targets, the newest first."""
        before = None if cursor is None else read_cursor(cursor)
        found = await self._database.read(lambda conn: store.newest(conn, limit + 1, before))
        items, more = found[:limit], found[limit:]
        last = items[-1] if more else None
        return CommandPage(
            items=tuple(items),
            next=None if last is None else write_cursor(last.created_ms, last.id),
        )


def _new(
    command: CheckedCommand, command_id: str, now_ms: int
) -> tuple[CommandView, dict[str, Any]]:
    """The view of a new command, and its row."""
    expires_ms = now_ms + command.ttl_ms
    targets = [
        engine.queued(command_id=command_id, node=node, expires_ms=expires_ms, now_ms=now_ms)
        for node in command.nodes
    ]
    row: dict[str, Any] = {
        "id": command_id,
        "verb": command.verb.name,
        "args": command.args,
        "created_ms": now_ms,
        "expires_ms": expires_ms,
        "timeout_s": command.timeout_s,
        "by": command.by,
        "secret": command.secret,
    }
    views = [TargetView(target=target) for target in targets]
    summary = {"queued": len(targets)} if targets else {}
    return CommandView(**row, summary=summary, targets=views), row


def _earlier(conn: Connection, key: str | None, asked: str) -> CommandView | None:
    """The command that the key has made, if it was asked for the same."""
    made = None if key is None else store.by_key(conn, key)
    if made is None:
        return None
    command_id, digest_then = made
    # Of an erased command nobody knows any more what was asked.
    if digest_then is not None and digest_then != asked:
        raise Problem(
            status=422,
            title="The key was used for another request",
            field="Idempotency-Key",
            detail=f"it made the command {command_id}, of which the request says something else",
            expected="a new key, or the same request",
        )
    view = store.view(conn, command_id)
    return None if view is None else replace(view, repeated=True)


def _unknown(command_id: str) -> Problem:
    return Problem(
        status=404, title="No such command", detail=f"there is no command {command_id[:64]!a}"
    )


def _nothing_to_cancel(targets: Sequence[Target]) -> Problem:
    left = [{"node": target.node, "state": target.state} for target in targets]
    return Problem(
        status=409,
        title="Nothing can be cancelled",
        detail="every target is at its end",
        extra={"not_cancelled": left},
    )
