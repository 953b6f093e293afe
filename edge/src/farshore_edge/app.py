"""Wires the agent together, starts it, stops it. Nothing else makes these objects.

``Machine`` is what the agent sees of its hardware: the real host, or a simulated one.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from farshore_protocol.clock import Clock
from farshore_protocol.ids import Ids
from farshore_protocol.link import Link, Message, Session
from farshore_protocol.stream import Sender, SenderSettings
from farshore_protocol.topics import Up, node_filters

from farshore_edge.agent_clock import AgentClock
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
from farshore_edge.downlink import Downlink, Listeners
from farshore_edge.errors import DatabaseError
from farshore_edge.facts.reporter import FactsReporter
from farshore_edge.link.measuring import LinkMeasuring
from farshore_edge.outbox import BufferSettings, Courier, Outbox
from farshore_edge.parts import RunningParts
from farshore_edge.presence import CenterMemory, Presence
from farshore_edge.settings import Settings
from farshore_edge.status import Status
from farshore_edge.tasks.outputs import Outputs
from farshore_edge.tasks.parts import TaskParts
from farshore_edge.tasks.service import TaskService
from farshore_edge.telemetry.collectors.task import TaskCollector
from farshore_edge.telemetry.sampler import Collector, Sampler
from farshore_edge.unheard import Unheard

log = logging.getLogger(__name__)

SETTLE_S = 0.5
"""Acknowledged records are deleted together: a crash before it means to hear of them again."""


BACKLOG_BYTES = 64 * 1024
"""More than that waiting is a backlog, beside which a link is not measured."""
LAST_WORDS = (
    *("configuration", "tasks", "use of tasks", "sampler", "facts"),
    "measuring of the link",
)
"""Parts that end before the last records are sent."""


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
        self._time = AgentClock(clock, boot=self.boot)
        self._stopped = asyncio.Event()
        self._parts = RunningParts(broke=self._stopped.set)
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
        self._wire_words()

    def _wire(self) -> None:
        settings, clock = self.settings, self._clock
        sender = Sender(SenderSettings(backlog_share=settings.backlog_share))
        self.outbox = Outbox(
            self._database,
            sender,
            now=self._time.timing,
            max_bytes=settings.outbox_max_bytes,
            woken=lambda: self._courier.wake(),
            buffer=BufferSettings(spill_after_s=settings.spill_after_s, settle_s=SETTLE_S),
            quotas=settings.quotas,
            draw_epoch=self._ids.epoch,
            asks=True,
            obeyed=lambda: self._center.mark,
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
            up_ms=self._time.up_ms,
            identity=lambda: self._status.identity(),
            heads=self.outbox.heads,
            queues=self.outbox.queues,
            sync=self._time.sync,
        )
        self._sampler = Sampler(
            (*self._machine.collectors(), self._usage),
            interval_s=settings.sample_interval_s,
            batch_s=settings.batch_s,
            now=self._time.timing,
            append=lambda body, timing: self.outbox.append(
                "metrics", "tel/host", body, timing=timing
            ),
        )
        self._facts = FactsReporter(
            self._machine.facts, self.outbox.append, cluster=lambda: self._supervisor.cluster()
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
                    status=lambda: self._status.word(),
                    clock=self._time.status,
                    facts=self._machine.facts,
                    support=support,
                ),
                unheard=self._unheard,
                up_ms=self._time.up_ms,
                center_ms=self._time.center_ms,
                center_now_ms=self._time.center_now_ms,
                facts=self._machine.facts,
                status=lambda: self._status.word(),
                config=lambda: self._config,
                handlers=handlers,
                find_verbs=find_verbs,
                aside=self._aside,
                power=self._power,
                task_output=self._task_outputs.find,
                link_measured=lambda result: self._link_measuring.found(result),
            )
        )
        self._link_measuring = LinkMeasuring(
            self._commands.link_test.measure,
            self.outbox.append,
            every_s=settings.link_every_s,
            most_bytes=settings.link_bytes,
            spread=self._rng.random,
            idle=self._idle,
        )

    def _idle(self) -> bool:
        """Connected, and nearly nothing waits to be sent."""
        waits = sum(queue.bytes for queue in self.outbox.queues().values())
        return self._link.connected and waits <= BACKLOG_BYTES

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
            now_ms=self._time.center_now_ms,
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
            now_ms=self._time.center_now_ms,
            boot_s=parts.boot_s or self._clock.monotonic_s,
            config=self._config.effective,
            unheard=self._unheard.note,
            capable=lambda: self._presence.say_birth(),
        )

    def _wire_words(self) -> None:
        """What it says of itself, and what it is told."""
        self._status = Status(
            settings=self.settings,
            clock=self._time,
            link=self._link,
            outbox=self.outbox,
            database=self._database,
            commands=self._commands,
            config=self._config,
            tasks=self._supervisor,
            aside=lambda: self._aside,
            center=lambda: self._center.mark,
            facts_digest=lambda: self._facts.digest,
        )
        self._downlink = Downlink(
            Listeners(
                commands=self._commands,
                config=self._config,
                tasks=self._supervisor,
                presence=self._presence,
                courier=self._courier,
                center=self._center,
                unheard=self._unheard,
            )
        )

    @property
    def connected(self) -> bool:
        return self._link.connected

    def status(self) -> dict[str, Any]:
        """What the verb ``status`` answers."""
        return self._status.word()

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
        self._supervisor.birth_said()

    def link_down(self, conn: int, reason: str) -> None:
        log.info("disconnected", extra={"conn": conn, "reason": reason})
        self._links.down(conn, self._clock.now_ms(), reason)
        self._presence.link_down()
        self._courier.link_down()

    def received(self, message: Message) -> None:
        self._downlink.received(message)

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
            ("acknowledgements", self._downlink.take_acks()),
            ("heartbeat", self._presence.run()),
            ("sampler", self._sampler.run()),
            ("measuring of the link", self._link_measuring.run()),
            ("facts", self._facts.run()),
        ):
            self._parts.start(name, work)
        await self._stopped.wait()

    async def _look_for_disk(self, late: LateDatabase) -> None:
        """It began in memory alone, and becomes durable as soon as the disk allows it."""
        await late.search(self._adopt)
        with contextlib.suppress(DatabaseError):
            self._center.begin()
        self._commands.ledger.begin(self._aside)
        await self.outbox.recover(self._aside)
        await self._commands.recover()
        self._supervisor.begin()
        self._presence.say_birth()  # with the heads: the center answers with what it has

    def _adopt(self, aside: SetAside | None) -> None:
        self._aside = aside
        self.outbox.adopt()

    async def stop(self) -> None:
        """Orderly: commands ended, buffer flushed, unsent records given a moment, presence offline.

        What fails on the way does not keep the rest from being put away.
        """
        try:
            await self._config.stop()
            await self._commands.stop()
            await self._supervisor.stop()
            await self._parts.end(*LAST_WORDS)
            await self._sampler.flush()
            await self.outbox.written()  # by whoever was cancelled while his record was written
            if not await self._courier.drained(self.settings.stop_grace_s):
                log.info("stopped with unsent records; they are kept")
            await self._link.close(self._presence.farewell())
        finally:
            await self._parts.end(*self._parts)
            await self._center.write()
            await self.outbox.close()
            await self._database.close()
            self._stopped.set()
