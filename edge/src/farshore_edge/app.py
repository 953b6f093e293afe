"""Wires the agent together, starts it, stops it. Nothing else makes these objects.

``Machine`` is what the agent sees of its hardware: the real host, or a simulated one.
"""

import asyncio
import contextlib
import hashlib
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import orjson
from farshore_protocol.clock import Clock
from farshore_protocol.codec import decode
from farshore_protocol.errors import RemoteProtocolError
from farshore_protocol.ids import Ids
from farshore_protocol.link import Link, Message, Session
from farshore_protocol.messages import (
    UNKNOWN_NODE,
    Capabilities,
    CenterStateMessage,
    ErrorMessage,
    ProbeAnswer,
    TimeAnswer,
)
from farshore_protocol.messages import Presence as PresenceMessage
from farshore_protocol.stream import Ack, Sender, SenderSettings
from farshore_protocol.topics import CenterState, Down, GroupCommand, Up, node_filters, parse

from farshore_edge import VERSION
from farshore_edge.commands.room import CommandParts, CommandRoom
from farshore_edge.commands.verbs import Handlers
from farshore_edge.commands.verbs.added import Finder
from farshore_edge.commands.verbs.guard import Guard
from farshore_edge.commands.verbs.power import Power
from farshore_edge.config import ConfigParts, ConfigService, Place
from farshore_edge.config.handlers.agent import AgentSettings
from farshore_edge.config.simulated import simulated_config
from farshore_edge.database import Database, LateDatabase, SetAside
from farshore_edge.diagnosis import Diagnosis, LinkHistory, Support
from farshore_edge.errors import DatabaseError
from farshore_edge.outbox import BufferSettings, Courier, Outbox, Timing
from farshore_edge.presence import CenterMemory, ClockSync, Presence
from farshore_edge.settings import Settings
from farshore_edge.tasks.outputs import Outputs
from farshore_edge.tasks.parts import TaskParts
from farshore_edge.tasks.service import TaskService
from farshore_edge.telemetry.collectors.task import TaskCollector
from farshore_edge.telemetry.sampler import Collector, Sampler
from farshore_edge.unheard import Unheard

log = logging.getLogger(__name__)

FACTS_RETRY_S = 600.0
DISK_RETRY_S = 5.0
SETTLE_S = 0.5
"""Acknowledged records are deleted together: a crash before it means to hear of them again."""


RETAINED = (
    "a retained command is not run, it would be at every connection; clear it: "
    "mosquitto_pub -r -n -t {topic}"
)


class Machine(Protocol):
    def collectors(self) -> Sequence[Collector]: ...

    def facts(self) -> dict[str, Any]: ...


class Agent:
    """One agent. ``link``, ``database`` and ``machine`` may be real or simulated."""

    def __init__(
        self,
        settings: Settings,
        *,
        machine: Machine,
        database: Database,
        link: Link,
        clock: Clock,
        rng: random.Random,
        handlers: Handlers | None = None,
        aside: SetAside | None = None,
        config: ConfigParts | None = None,
        power: Power | None = None,
        support: Support | None = None,
        guard: Guard | None = None,
        find_verbs: Finder = tuple,
        tasks: TaskParts | None = None,
    ) -> None:
        """``handlers``: verbs in place of the agent's own; a simulated node runs no real program.

        ``aside``: the damaged database whose place this one has taken. ``config``: how
        configurations are brought about; without it, in memory. ``power``: to restart it and its
        machine; without it, it has no verbs for that. ``support``: what of its machine and its log
        the verb ``diagnose`` tells. ``guard``: where programs are on record. ``find_verbs``: gives
        the entry points of further verbs. ``tasks``: what runs the center's tasks; without it, none.
        """
        self.settings = settings
        self._clock = clock
        self._machine = machine
        self._database = database
        self._link = link
        self._rng = rng
        self._aside = aside
        self._ids = Ids(rng)
        self.boot = self._ids.boot()
        self._started_s = clock.monotonic_s()
        self._sync = ClockSync()
        self._facts_digest = ""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopped = asyncio.Event()
        self._acks: asyncio.Queue[Ack] = asyncio.Queue()
        self._power = power
        self._links = LinkHistory()
        self._guard = guard or Guard()
        tasks = tasks or TaskParts()
        self._usage = TaskCollector(
            lambda: self._supervisor.running(), monotonic_s=clock.monotonic_s
        )
        self._task_outputs = Outputs(tasks.folder)
        self._wire()
        self._wire_commands(dict(handlers or {}), find_verbs, support or Support())
        self._wire_config(config or simulated_config())
        self._wire_tasks(tasks)

    def _wire(self) -> None:
        settings, clock = self.settings, self._clock
        sender = Sender(SenderSettings(backlog_share=settings.backlog_share))
        self.outbox = Outbox(
            self._database,
            sender,
            now=self.timing,
            max_bytes=settings.outbox_max_bytes,
            woken=lambda: self._courier.wake(),
            buffer=BufferSettings(spill_after_s=settings.spill_after_s, settle_s=SETTLE_S),
            quotas=settings.quotas,
            draw_epoch=self._ids.epoch,
            asks=True,
        )
        self._courier = Courier(
            node=settings.node,
            outbox=self.outbox,
            sender=sender,
            uplink=self._link,
            clock=clock,
            spread=self._rng.random,
            say_birth=lambda: self._presence.say_birth(),
        )
        self._center = CenterMemory(self._database, now_s=clock.monotonic_s)
        self._presence = Presence(
            node=settings.node,
            boot=self.boot,
            heartbeat_s=settings.heartbeat_s,
            clock=clock,
            up_ms=self.up_ms,
            identity=self._identity,
            heads=self.outbox.heads,
            queues=self.outbox.queues,
            sync=self._sync,
        )
        self._sampler = Sampler(
            (*self._machine.collectors(), self._usage),
            interval_s=settings.sample_interval_s,
            batch_s=settings.batch_s,
            now=self.timing,
            append=lambda body, timing: self.outbox.append(
                "metrics", "tel/host", body, timing=timing
            ),
        )
        self._unheard = Unheard(self.outbox.append, monotonic_s=clock.monotonic_s)

    def _wire_commands(self, handlers: Handlers, find_verbs: Finder, support: Support) -> None:
        settings, clock = self.settings, self._clock
        self._commands = CommandRoom(
            CommandParts(
                settings=settings,
                database=self._database,
                outbox=self.outbox,
                link=self._link,
                clock=clock,
                ids=self._ids,
                boot=self.boot,
                guard=self._guard,
                diagnosis=Diagnosis(
                    settings=settings,
                    books=self._database,
                    link=self._links,
                    status=self.status,
                    clock=self._clock_status,
                    facts=self._machine.facts,
                    support=support,
                ),
                unheard=self._unheard,
                up_ms=self.up_ms,
                center_ms=lambda up_ms: self._sync.center_ms(up_ms=up_ms),
                center_now_ms=self._center_now_ms,
                facts=self._machine.facts,
                status=self.status,
                config=lambda: self._config,
                handlers=handlers,
                find_verbs=find_verbs,
                aside=self._aside,
                power=self._power,
                task_output=self._task_outputs.find,
            )
        )
        link_test = self._commands.link_test
        self._downlinks: dict[str, Callable[[bytes], None]] = {
            "ack": self._acknowledged,
            "time": lambda payload: self._presence.time_answered(decode(TimeAnswer, payload)),
            "probe": lambda payload: link_test.answered(decode(ProbeAnswer, payload), len(payload)),
            "error": lambda payload: self._refused(decode(ErrorMessage, payload)),
        }

    def _wire_config(self, parts: ConfigParts) -> None:
        settings, clock = self.settings, self._clock
        live: dict[str, Callable[[Any], None]] = {
            "sample_interval_s": lambda value: self._sampler.retime(interval_s=value),
            "batch_s": lambda value: self._sampler.retime(batch_s=value),
            "heartbeat_s": self._presence.beat_every,
            "outbox_max_bytes": self.outbox.limit,
            "log_level": parts.log_level,
        }
        self._config = ConfigService(
            parts,
            AgentSettings({key: getattr(settings, key) for key in live}, live),
            node=settings.node,
            place=Place(group=settings.group, labels=settings.labels),
            tell=self.outbox.append,
            facts=self._machine.facts,
            now_ms=self._center_now_ms,
            monotonic_s=clock.monotonic_s,
            moved=lambda: self._link.reconnect("the node is in another group"),
        )

    def _wire_tasks(self, parts: TaskParts) -> None:
        self._supervisor = TaskService(
            parts,
            node=self.settings.node,
            boot=self.boot,
            link=self._link,
            database=self._database,
            outbox=self.outbox,
            now_ms=self._center_now_ms,
            boot_s=parts.boot_s or self._clock.monotonic_s,
            config=self._config.effective,
            unheard=self._unheard.note,
        )

    def _center_now_ms(self) -> int:
        """The center's wall clock where it is known, else the node's own."""
        center_ms = self._sync.center_ms(up_ms=self.up_ms())
        return self._clock.now_ms() if center_ms is None else int(center_ms)

    @property
    def connected(self) -> bool:
        return self._link.connected

    # Time

    def up_ms(self) -> int:
        """Milliseconds since this agent started, on the monotonic clock."""
        return int((self._clock.monotonic_s() - self._started_s) * 1000)

    def timing(self) -> Timing:
        up_ms, now_ms = self.up_ms(), self._clock.now_ms()
        return Timing(
            boot=self.boot,
            up_ms=up_ms,
            ts=now_ms,
            synced=self._sync.synced(up_ms=up_ms, now_ms=now_ms),
        )

    # What it says of itself

    def _identity(self) -> dict[str, object]:
        return {
            "agent_version": VERSION,
            "group": self.settings.group,
            "labels": dict(self.settings.labels),
            "capabilities": Capabilities(
                verbs=tuple(sorted(self._commands.handlers)),
                drivers=self._supervisor.drivers(),
                verbs_digest=self._commands.digest,
            ),
            "facts_digest": self._facts_digest or None,
            "center": self._center.mark,
            "revisions": self._config.revisions() | self._supervisor.revisions(),
            "digests": self._config.digests(),
        }

    def status(self) -> dict[str, Any]:
        return {
            "node": self.settings.node,
            "agent_version": VERSION,
            "boot": self.boot,
            "up_s": round(self.up_ms() / 1000, 3),
            "connected": self._link.connected,
            "clock_offset_ms": self._sync.offset_ms(
                up_ms=self.up_ms(), now_ms=self._clock.now_ms()
            ),
            "streams": {
                stream: {"records": q.records, "bytes": q.bytes, "head": q.head}
                for stream, q in self.outbox.queues().items()
            },
            **self._commands.status(),
            "config": self._config.status(),
            "tasks": self._supervisor.status(),
            "losses": self._losses(),
            "disk": self._disk(),
        }

    def _clock_status(self) -> dict[str, Any]:
        up_ms, now_ms = self.up_ms(), self._clock.now_ms()
        return {
            "now": now_ms,
            "up_ms": up_ms,
            "synced": self._sync.synced(up_ms=up_ms, now_ms=now_ms),
            "offset_ms": self._sync.offset_ms(up_ms=up_ms, now_ms=now_ms),
            "bound_ms": self._sync.bound_ms(up_ms=up_ms),
        }

    def _losses(self) -> int | None:
        try:
            return len(self._database.losses())
        except DatabaseError:
            return None

    def _disk(self) -> dict[str, Any]:
        """Whether the outbox can be written, and what was set aside."""
        outage = self.outbox.outage()
        word: dict[str, Any] = {"writable": outage is None}
        if outage is not None:
            word |= {"since": outage.since.ts, "error": outage.error}
        if self._aside is not None:
            word["set_aside"] = {"file": self._aside.file, "reason": self._aside.reason}
        return word

    # LinkHandler

    def session(self, conn: int) -> Session:
        node = self.settings.node
        own = Up(node=node, kind="presence").build()
        return Session(
            client_id=node,
            filters=(*node_filters(node, self._config.place.group), own),
            will=self._presence.will(conn),
            keepalive_s=self.settings.keepalive_s,
        )

    def link_up(self, conn: int) -> None:
        log.info("connected", extra={"conn": conn, "center": self.settings.center})
        self._links.up(conn, self._clock.now_ms())
        self._presence.link_up(conn, self._link)
        self._courier.link_up()
        self._supervisor.link_up()

    def link_down(self, conn: int, reason: str) -> None:
        log.info("disconnected", extra={"conn": conn, "reason": reason})
        self._links.down(conn, self._clock.now_ms(), reason)
        self._presence.link_down()
        self._courier.link_down()

    def received(self, message: Message) -> None:
        try:
            self._dispatch(message)
        except RemoteProtocolError as exc:
            self._unheard.note(message.topic, exc.reason, exc.detail)
        except Exception:  # a message must not end the agent, whatever it holds
            log.exception("a message could not be handled", extra={"topic": message.topic})

    def _dispatch(self, message: Message) -> None:
        match parse(message.topic):
            case Down(kind="cmd") | GroupCommand() if message.retain:
                # It lay at a broker: nobody knows how long.
                self._unheard.note(message.topic, "retained", RETAINED.format(topic=message.topic))
            case Down(kind="cmd", name=str(verb)):
                self._commands.service.take(verb, message.payload)
            case GroupCommand(group=group, verb=verb):
                self._commands.service.take(verb, message.payload, group)
            case Down(kind="desired", name="config"):
                if message.retain:  # it lay at a broker: the center sends what it means itself
                    log.warning("a retained configuration is ignored")
                else:
                    self._config.take(message.payload)
            case Down(kind="desired", name="tasks"):
                if message.retain:
                    log.warning("a retained document of tasks is ignored")
                else:
                    self._supervisor.take(message.payload)
            case Down(kind="lease"):
                if not message.retain:
                    self._supervisor.take_lease(message.payload)
            case Down(kind="log", name=str(name)):
                if not message.retain:
                    self._commands.tails.renew(name, message.payload)
            case Down(kind=kind) if kind in self._downlinks:
                self._downlinks[kind](message.payload)
            case CenterState():
                word = decode(CenterStateMessage, message.payload)
                self._courier.center_wishes(rate=word.rate, hold_s=word.hold_s)
                self._courier.center_is(word.state == "online")
                if word.state == "online":
                    self._presence.saw_center(word.epoch, live=not message.retain)
            case Up(kind="presence") if not message.retain:  # what was said since "online"
                self._presence.saw_own(decode(PresenceMessage, message.payload))

    def _acknowledged(self, payload: bytes) -> None:
        self._acks.put_nowait(decode(Ack, payload))

    def _refused(self, word: ErrorMessage) -> None:
        if word.reason == UNKNOWN_NODE:
            log.info("the center does not know this node; it says its birth again")
            self._presence.say_birth()
            return
        log.warning(
            "the center refused a message",
            extra={"topic": word.topic, "reason": word.reason, "detail": word.detail},
        )

    # Life

    async def run(self) -> None:
        """Runs until ``stop`` has been called and everything was put away."""
        await self.outbox.recover(self._aside)
        late = self._database if isinstance(self._database, LateDatabase) else None
        await self._supervisor.prepare()
        if late is None:
            await self._commands.recover()
            self._supervisor.begin()
        if self._stopped.is_set():
            return
        for name, work in (
            *((("disk", self._look_for_disk(late)),) if late is not None else ()),
            ("configuration", self._config.run()),
            ("tasks", self._supervisor.run()),
            ("use of tasks", self._usage.run()),
            ("link", self._link.run(self)),
            ("courier", self._courier.run()),
            ("acknowledgements", self._take_acks()),
            ("heartbeat", self._presence.run()),
            ("sampler", self._sampler.run()),
            ("facts", self._report_facts()),
        ):
            task = asyncio.create_task(work, name=name)
            task.add_done_callback(self._task_ended)
            self._tasks[name] = task
        await self._stopped.wait()

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.critical(
                "a part of the agent broke; it stops so that it can be started anew",
                extra={"part": task.get_name()},
                exc_info=task.exception(),
            )
            self._stopped.set()

    async def _look_for_disk(self, late: LateDatabase) -> None:
        """It began in memory alone, and becomes durable as soon as the disk allows it."""
        found = False
        while not found:
            await asyncio.sleep(DISK_RETRY_S)
            with contextlib.suppress(DatabaseError):  # the outbox has said so, and says it again
                self._aside = await late.look()
                self.outbox.adopt()
                found = True
        with contextlib.suppress(DatabaseError):
            self._center.begin()
        self._commands.ledger.begin(self._aside)
        await self.outbox.recover(self._aside)
        await self._commands.recover()
        self._supervisor.begin()
        self._presence.say_birth()  # with the heads: the center answers with what it has

    async def _take_acks(self) -> None:
        while True:
            ack = await self._acks.get()
            try:
                await self._courier.acknowledged(ack)
                for word in ack.values():
                    if word.center is not None:
                        await self._center.obeyed(word.center, answer=word.head is not None)
            except Exception:  # what it holds was not understood: the center says it again
                log.exception("an acknowledgement could not be handled")

    async def _report_facts(self) -> None:
        while True:
            if await self._facts_reported():
                return
            await asyncio.sleep(FACTS_RETRY_S)

    async def _facts_reported(self) -> bool:
        try:
            facts = await asyncio.to_thread(self._machine.facts)
            if (cluster := await self._supervisor.cluster()) is not None:
                facts = {**facts, "cluster": cluster}
            digest = _digest(facts)
            await self.outbox.append("reports", "rep/facts", {"digest": digest, "facts": facts})
        except Exception:  # a strange machine is managed all the same
            log.exception("the facts could not be found out")
            return False
        self._facts_digest = digest
        return True

    async def stop(self) -> None:
        """Orderly: commands ended, buffer flushed, unsent records given a moment, presence offline.

        What fails on the way does not keep the rest from being put away.
        """
        try:
            await self._config.stop()
            await self._commands.stop()
            await self._supervisor.stop()
            await self._end("configuration", "tasks", "use of tasks", "sampler", "facts")
            await self._sampler.flush()
            await self.outbox.written()  # by whoever was cancelled while his record was written
            if not await self._courier.drained(self.settings.stop_grace_s):
                log.info("stopped with unsent records; they are kept")
            await self._link.close(self._presence.farewell())
        finally:
            await self._end(*self._tasks)
            await self._center.write()
            await self.outbox.close()
            await self._database.close()
            self._stopped.set()

    async def _end(self, *names: str) -> None:
        """Ends parts of the agent; what they were broken by was logged when they broke."""
        tasks = [self._tasks.pop(name) for name in names if name in self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _digest(facts: dict[str, Any]) -> str:
    """Of the canonical JSON. Raises TypeError for what is none."""
    canonical = orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)
    return "sha256:" + hashlib.sha256(canonical).hexdigest()
