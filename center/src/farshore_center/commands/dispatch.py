"""The loop that sends commands and gives up on them: load, decide, persist, act.

Intent first: that a target was sent is committed before anything is published. A crash between
the two is healed by sending the same id again, which a node answers with what it has recorded.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

import orjson
import structlog
from farshore_protocol import codec
from farshore_protocol.commands import Command
from farshore_protocol.link import Message
from farshore_protocol.topics import Down
from sqlalchemy import Connection

from farshore_center.commands import store
from farshore_center.commands.announced import Announced, lacks
from farshore_center.commands.engine import (
    Decision,
    Target,
    decide_sends,
    reject_unannounced,
)
from farshore_center.commands.reports import drafts_of
from farshore_center.commands.schedule import Key, Schedule
from farshore_center.commands.settings import CommandSettings
from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from farshore_center.events import Event, EventLog
from farshore_center.sending import woken

log = structlog.get_logger(__name__)

BATCH = 1000
_YIELD_EVERY = 50
_RETRY_MS = 1000


class Downlink(Protocol):
    """The way to the nodes. What can't be sent now may be dropped or raise; it is sent again."""

    async def send(self, message: Message) -> None: ...


@dataclass(slots=True)
class DispatchCounts:
    """Since the start."""

    sent: int = 0
    sent_again: int = 0
    expired: int = 0
    unannounced: int = 0
    send_failures: int = 0
    rounds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What one transaction decided."""

    decisions: Sequence[Decision]
    orders: dict[str, store.Order]
    events: Sequence[Event]


class Dispatcher:
    def __init__(
        self,
        database: Database,
        events: EventLog,
        downlink: Downlink,
        online: Callable[[], AbstractSet[str]],
        *,
        now_ms: Callable[[], int],
        settings: CommandSettings,
        announced: Announced,
    ) -> None:
        self._announced = announced
        self._database = database
        self._events = events
        self._downlink = downlink
        self._online = online
        self._now_ms = now_ms
        self._settings = settings
        self._pace = settings.pace
        self._schedule = Schedule()
        self._arrived: set[str] = set()
        self._woken = asyncio.Event()
        self.counts = DispatchCounts()

    @property
    def waiting(self) -> int:
        """Targets that will be looked at; some of them may have answered since."""
        return len(self._schedule)

    def look_now(self, keys: Iterable[Key]) -> None:
        now_ms = self._now_ms()
        for key in keys:
            self._schedule.put(key, now_ms)
        self._woken.set()

    def node_arrived(self, node: str) -> None:
        self._arrived.add(node)
        self._woken.set()

    def look_at_all(self) -> None:
        self._schedule.hurry_all(self._now_ms())
        self._woken.set()

    async def run(self) -> None:
        """Until it is cancelled. A database that fails is tried again: what is due stays due."""
        await self._load()
        while True:
            self._woken.clear()
            await self._round()
            next_ms = self._schedule.next_ms()
            due_in_s = None if next_ms is None else (next_ms - self._now_ms()) / 1000
            await woken(self._woken, due_in_s)

    async def _load(self) -> None:
        online = self._online()
        now_ms = self._now_ms()
        for command_id, node, expires_ms in await self._database.read(store.unanswered):
            self._schedule.put((command_id, node), now_ms if node in online else expires_ms)

    async def _round(self) -> None:
        """Everything that is due now."""
        arrived, self._arrived = frozenset(self._arrived), set()
        self._schedule.hurry(arrived, self._now_ms())
        while due := self._schedule.take_due(self._now_ms(), BATCH):
            self.counts.rounds += 1
            try:
                step = await self._decide(due, arrived)
            except DatabaseError as exc:
                log.error("commands can't be sent now", due=len(due), reason=str(exc))
                again_ms = self._now_ms() + _RETRY_MS
                for key in due:
                    self._schedule.put(key, again_ms)
                self._arrived |= arrived
                return
            self._note(step)
            await self._publish(step)

    async def _decide(self, due: Sequence[Key], arrived: AbstractSet[str]) -> _Step:
        online = frozenset(self._online())

        def work(conn: Connection) -> _Step:
            now_ms = self._now_ms()
            targets = store.load_targets(conn, due)
            decided = decide_sends(
                targets.values(), now_ms, online, arrived=arrived, pace=self._pace
            )
            sending = {d.target.command_id for d in decided if d.action == "send"}
            orders = store.orders(conn, sending)
            decisions = [self._unless_lacking(d, targets, orders, now_ms) for d in decided]
            changed = [d.target for d in decisions if d.action in ("send", "expire", "reject")]
            store.save_targets(conn, changed)
            new = [t for t in changed if t.state != targets[t.key].state]
            return _Step(
                decisions=decisions,
                orders=orders,
                events=self._events.append(conn, drafts_of(new, now_ms)),
            )

        return await self._database.write(work)

    def _unless_lacking(
        self,
        decision: Decision,
        before: Mapping[Key, Target],
        orders: Mapping[str, store.Order],
        now_ms: int,
    ) -> Decision:
        """Nothing is sent to a node that is known not to have the verb; what was sent once stays sent."""
        target = before[decision.target.key]
        if decision.action != "send" or target.state != "queued":
            return decision
        verb = orders[target.command_id].verb
        if not lacks(self._announced, target.node, verb):
            return decision
        return reject_unannounced(target, verb, now_ms)

    def _note(self, step: _Step) -> None:
        """After the commit: the schedule and the counts follow what was decided."""
        for decision in step.decisions:
            if decision.look_ms is not None:
                self._schedule.put(decision.target.key, decision.look_ms)
        expired = sum(decision.action == "expire" for decision in step.decisions)
        if expired:
            self.counts.expired += expired
            log.info("commands expired", targets=expired)
        self.counts.unannounced += sum(d.action == "reject" for d in step.decisions)
        self._events.announce(step.events)

    async def _publish(self, step: _Step) -> None:
        sends = [decision.target for decision in step.decisions if decision.action == "send"]
        messages = _Messages(step.orders, self._now_ms())
        failed, first_reason = 0, ""
        for number, target in enumerate(sends, start=1):
            try:
                async with asyncio.timeout(self._settings.send_timeout_s):
                    await self._downlink.send(messages.build(target))
            except TimeoutError:
                # What does not move for one will not for the next: leave the rest to the next time.
                failed, first_reason = failed + len(sends) - number + 1, "the downlink is stuck"
                break
            except Exception as exc:  # whatever a downlink raises, the others must get theirs
                failed, first_reason = failed + 1, first_reason or repr(exc)
                continue
            self.counts.sent += target.sends == 1
            self.counts.sent_again += target.sends > 1
            if number % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        self.counts.send_failures += failed
        if failed:
            log.warning(
                "commands not sent, will be tried again", targets=failed, reason=first_reason
            )


class _Messages:
    """Messages of one round; targets of one command share the payload."""

    def __init__(self, orders: dict[str, store.Order], now_ms: int) -> None:
        self._orders = orders
        self._now_ms = now_ms
        self._payloads: dict[str, bytes] = {}

    def build(self, target: Target) -> Message:
        order = self._orders[target.command_id]
        payload = self._payloads.get(target.command_id)
        if payload is None:
            payload = self._payloads[target.command_id] = codec.encode(
                Command(
                    id=target.command_id,
                    args=orjson.loads(order.args),
                    ttl_s=max(target.expires_ms - self._now_ms, 1) / 1000,
                    timeout_s=order.timeout_s,
                    iat=self._now_ms,
                    made=order.created_ms if order.created_ms < self._now_ms else None,
                    secret=order.secret,
                )
            )
        topic = Down(node=target.node, kind="cmd", name=order.verb).build()
        return Message(topic=topic, payload=payload, qos=1)
