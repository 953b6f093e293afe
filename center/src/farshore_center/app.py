"""Wires the center together, starts it, stops it. Nothing else makes these objects."""

import asyncio
import random
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

import structlog
from farshore_protocol.clock import Clock
from farshore_protocol.errors import TopicError
from farshore_protocol.ids import Ids
from farshore_protocol.link import Message
from farshore_protocol.topics import Up, parse
from fastapi import FastAPI

from farshore_center.api import problems
from farshore_center.api.operation import operation_routes
from farshore_center.broker import Client, Refusal, websocket_route
from farshore_center.commands.request import NodeChoice
from farshore_center.commands.routes import command_routes
from farshore_center.commands.service import CommandService
from farshore_center.commands.verb_routes import verb_routes
from farshore_center.config.places import place_of
from farshore_center.config.room import ConfigRoom
from farshore_center.config.routes import config_routes
from farshore_center.db.database import Database
from farshore_center.events import EventLog
from farshore_center.events.routes import event_routes
from farshore_center.groups.routes import group_routes, overlay_routes
from farshore_center.groups.service import GroupService
from farshore_center.identity.routes import identity_routes
from farshore_center.identity.service import IdentityService
from farshore_center.ingest.intake import Intake
from farshore_center.ingest.rejected import RejectedList
from farshore_center.ingest.routes import ingest_routes
from farshore_center.ingest.service import IngestService
from farshore_center.jobs.overlays import JobOverlays
from farshore_center.jobs.room import JobRoom
from farshore_center.jobs.routes import job_routes
from farshore_center.logs.routes import log_routes
from farshore_center.logs.service import LogService
from farshore_center.measures import readings
from farshore_center.nodes.announced import AnnouncedVerbs
from farshore_center.nodes.choice import chosen
from farshore_center.nodes.probes import ProbeService
from farshore_center.nodes.routes import node_routes
from farshore_center.nodes.service import NodeService
from farshore_center.settings import Settings
from farshore_center.tasks.pool_reader import PoolReader
from farshore_center.tasks.quota_service import QuotaService
from farshore_center.tasks.quota_store import TaskGroups
from farshore_center.tasks.room import TaskRoom
from farshore_center.tasks.routes import pool_routes, quota_routes, task_routes
from farshore_center.tasks.settings import TaskSettings, settings_of
from farshore_center.telemetry.routes import telemetry_routes
from farshore_center.telemetry.service import TelemetryHistory
from farshore_center.uplink import EmbeddedUplink, ExternalUplink, Uplink, center_state

log = structlog.get_logger(__name__)

API_VERSION = "0.1.0"

DRAIN_S = 5.0


class Center:
    """One center. ``start`` it before its ``api`` serves, ``stop`` it after."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        rng: random.Random,
        database: Database | None = None,
        task_settings: TaskSettings | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._ids = Ids(rng)
        self._tasks: list[asyncio.Task[Any]] = []
        self._told: set[asyncio.Task[None]] = set()
        self._started = False
        self.broken = asyncio.Event()
        now_ms, now_s = clock.now_ms, clock.monotonic_s
        self.database = database or Database(settings.database)
        self.events = EventLog(self.database, now_ms)
        self.history = TelemetryHistory(self.database, now_ms)
        self.rejected = RejectedList(now_ms=now_ms, now_s=now_s, tell=self._tell)
        self.nodes = NodeService(self.database, self.events, self, now_ms=now_ms, now_s=now_s)
        self.groups = GroupService(self.database, self.nodes, now_ms=now_ms)
        self.nodes.changed = self.groups.tell
        self.commands = CommandService(
            self.database,
            self.events,
            self,
            self.nodes.registry.online,
            now_ms=now_ms,
            ids=self._ids,
            announced=AnnouncedVerbs(self.nodes.registry),
        )
        self.logs = LogService(
            self.commands,
            self.events,
            self,
            self.nodes.registry.online,
            now_s=now_s,
        )
        self.identity = IdentityService(
            self.database,
            self.events,
            self.commands,
            now_ms=now_ms,
            name=self._ids.boot(),
            epoch=self._ids.boot(),
        )
        registry = self.nodes.registry
        overlays = JobOverlays(self.database, self.groups)
        self.configs = ConfigRoom(
            self.database,
            self.events,
            self,
            overlays,
            lambda: [place_of(entry) for entry in registry.all()],
            registry.online,
            now_ms=now_ms,
        )
        self.configs.layers.guard = overlays.guard
        self.jobs = JobRoom(
            self.database,
            self.events,
            registry,
            self.groups,
            self.commands,
            self.configs.rollouts,
            self.history,
            overlays,
            now_ms=now_ms,
            ids=self._ids,
            held=lambda: self.identity.restored,
        )
        self.tasks = TaskRoom(
            self.database,
            self.events,
            self,
            registry,
            self.groups.selection,
            self.groups.tree,
            now_ms=now_ms,
            now_s=now_s,
            held=lambda: self.identity.restored,
            rng=random.Random(0),  # noqa: S311 # it draws candidates alone
            settings=task_settings or settings_of(settings.tasks),
        )
        self.nodes.listeners.append(self.tasks)
        self.groups.layers = self.configs
        self.groups.changed = self._changed
        self.groups.named = TaskGroups()
        self.quotas = QuotaService(self.database, self.events, self.groups.tree, now_ms=now_ms)
        self.nodes.arrived = self._arrived
        self.ingest = IngestService(
            self.database,
            self.events,
            self,
            self.history,
            self.commands,
            self.configs,
            self.rejected,
            now_ms=now_ms,
            now_s=now_s,
            facts_committed=self.nodes.facts_committed,
            identity=self.identity,
            tasks=self.tasks,
        )
        self.intake = Intake(
            self.nodes,
            self.ingest,
            self.rejected,
            ProbeService(self, now_s=now_s),
            self.identity.judged,
            leases=self.tasks.asked,
            live=self.logs.relay.take,
        )
        self.uplink = self._make_uplink(rng)
        self.api = self._make_api()

    def _make_uplink(self, rng: random.Random) -> Uplink:
        if self.settings.external_broker:
            return ExternalUplink(
                self.settings.mqtt,
                take=self.intake.take,
                ended=self._ended,
                epoch=self.identity.epoch,
                state=self.state,
                clock=self._clock,
                rng=rng,
            )
        return EmbeddedUplink(
            self.settings.mqtt,
            take=self.intake.take,
            rejected=self._refused,
            epoch=self.identity.epoch,
            state=self.state,
        )

    def state(self, online: bool) -> Message:
        """What nodes are told of this center, and its will; the same for all of this start."""
        return center_state(
            self.identity.epoch,
            online,
            database=self.identity.database,
            generation=self.identity.generation_at_start,
            wishes=self.settings.wishes,
        )

    def _arrived(self, node: str) -> None:
        self.commands.node_arrived(node)
        entry = self.nodes.registry.get(node)
        if entry is not None:
            self.configs.arrived(
                node,
                entry.revisions.get("config"),
                entry.digests.get("config"),
                (entry.standing.boot, entry.standing.conn),
            )

            self.tasks.arrived(node, entry.revisions.get("tasks"))

    def _changed(self, nodes: Iterable[str] | None) -> None:
        self.configs.changed(nodes)
        self.tasks.changed(nodes)

    # Downlink

    async def send(self, message: Message) -> None:
        await self.uplink.send(message)

    def _tell(self, message: Message) -> None:
        task = asyncio.create_task(self.uplink.send(message))
        self._told.add(task)
        task.add_done_callback(self._told.discard)

    # What the broker refused

    def _refused(
        self, client: Client | None, topic: str | None, payload: bytes, refusal: Refusal
    ) -> None:
        self.rejected.add(
            reason=refusal.reason,
            detail=refusal.detail,
            payload=payload,
            topic=topic,
            node=_node_of(topic),
            client_id=client.client_id if client is not None else None,
        )

    # The API

    def _make_api(self) -> FastAPI:
        app = FastAPI(
            title="Farshore",
            version=API_VERSION,
            openapi_url="/api/v1/openapi.json",
            docs_url=None,
            redoc_url=None,
        )
        problems.install(app)
        registry = self.nodes.registry

        async def known_node(name: str) -> bool:
            return registry.get(name) is not None

        async def resolve(choice: NodeChoice) -> list[str]:
            if choice.selector is not None:
                return sorted(await self.groups.selection.chosen(choice.selector))
            return chosen(registry, choice)

        choose = self.groups.selection.chosen
        app.include_router(
            node_routes(
                self.nodes,
                self.database,
                self.history,
                choose,
                self.configs,
                self.commands,
                self.tasks,
            )
        )
        app.include_router(group_routes(self.groups, registry))
        app.include_router(overlay_routes(self.groups, registry))
        app.include_router(ingest_routes(self.database, self.rejected, known_node))
        app.include_router(telemetry_routes(self.history, known_node, self._clock.now_ms))
        app.include_router(command_routes(self.commands, resolve))
        app.include_router(verb_routes(AnnouncedVerbs(registry), known_node))
        app.include_router(config_routes(self.configs))
        app.include_router(job_routes(self.jobs.service, self.jobs.reader))
        app.include_router(task_routes(self.tasks.service, self.tasks.reader, self.tasks.drains))
        app.include_router(pool_routes(PoolReader(self.tasks.snapshot, self.history)))
        app.include_router(quota_routes(self.quotas))
        app.include_router(event_routes(self.events))
        app.include_router(log_routes(self.logs, known_node))
        app.include_router(identity_routes(self.identity))
        app.include_router(operation_routes(self.checks, readings(self), self.reasons))
        if isinstance(self.uplink, EmbeddedUplink):
            app.add_api_websocket_route("/mqtt", websocket_route(self.uplink.broker))
        return app

    def checks(self) -> Mapping[str, bool]:
        """What must hold for the center to be ready, by name."""
        return {
            "broker": self.uplink.ready,
            "database": self._started and not (self.ingest.failing or self.nodes.failing),
            "loops": bool(self._tasks) and not any(task.done() for task in self._tasks),
        }

    def reasons(self) -> Mapping[str, str]:
        """Why a check does not hold, where that is known."""
        fault = self.uplink.fault
        return {} if fault is None else {"broker": fault}

    # Life

    async def start(self) -> None:
        await self.database.start()
        self._started = True
        await self.identity.start(restored=self.settings.restored)
        await self.nodes.start()
        await self.groups.start()
        await self.jobs.start()
        await self.tasks.start()
        self._run(self.ingest.run(), "ingest")
        self._run(self.ingest.run_holes(self.nodes.registry.online), "holes")
        self._run(self.nodes.run(), "presence")
        self._run(self.commands.run(), "commands")
        self._run(self.configs.run(), "configuration")
        self._run(self.configs.deliver(), "configuration delivery")
        self._run(self.jobs.run(), "jobs")
        self._run(self.tasks.run(), "tasks")
        self._run(self.history.run(), "telemetry history")
        await self.uplink.start()
        log.info(
            "the center is up",
            http=str(self.settings.http),
            mqtt=str(self.settings.mqtt),
            external_broker=self.settings.external_broker,
            data=str(self.settings.data),
        )

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.critical(
                "a part of the center broke; it stops so that it can be started anew",
                part=task.get_name(),
                exc_info=task.exception(),
            )
            self.broken.set()

    async def stop(self) -> None:
        """Orderly: no new messages, what came is settled, then everything is put away.

        After a start that failed half-way, too.
        """
        self.events.close()
        self.logs.relay.close()
        await self.uplink.stop()
        await self._drain()
        tasks = [*self._tasks, *self._told]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._started:
            self._started = False
            await self.nodes.stop()
        await self.database.stop()
        log.info("the center has stopped")

    async def _drain(self) -> None:
        """What is not settled in time was not acknowledged either: the nodes send it again."""
        if self.broken.is_set() or not self._tasks:
            return
        try:
            async with asyncio.timeout(DRAIN_S):
                await self.ingest.drained()
        except TimeoutError:
            log.warning("stopped with unsettled records", records=self.ingest.waiting)


def _node_of(topic: str | None) -> str | None:
    """The node that a refused topic speaks of, if it is one of ours."""
    if topic is None:
        return None
    try:
        parsed = parse(topic)
    except TopicError:
        return None
    return parsed.node if isinstance(parsed, Up) else None
