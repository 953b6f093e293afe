"""What ``/metrics`` says of a center, by name; docs/operation.md explains each, and a test compares.

It only reads: every number is kept by the room that it speaks of.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Protocol

from farshore_center.api.metrics import Readings
from farshore_center.commands.service import CommandService
from farshore_center.config.room import ConfigRoom
from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from farshore_center.events import EventLog
from farshore_center.identity.service import IdentityService
from farshore_center.ingest.intake import Intake
from farshore_center.ingest.rejected import RejectedList
from farshore_center.ingest.service import IngestService
from farshore_center.jobs.room import JobRoom
from farshore_center.nodes.service import NodeService
from farshore_center.tasks.room import TaskRoom
from farshore_center.uplink import EmbeddedUplink, ExternalUplink, Uplink

_TASKS_NOW = ("waiting", "unheard")
_BROKER_NOW = ("connections", "clients", "subscriptions", "retained")


class Rooms(Protocol):
    """The rooms of a center that have something to count."""

    database: Database
    events: EventLog
    rejected: RejectedList
    nodes: NodeService
    commands: CommandService
    configs: ConfigRoom
    jobs: JobRoom
    tasks: TaskRoom
    identity: IdentityService
    ingest: IngestService
    intake: Intake
    uplink: Uplink

    def checks(self) -> Mapping[str, bool]: ...


def readings(center: Rooms) -> Readings:
    """Counters are since the start and end in ``_total``; gauges are of now."""
    return Readings(
        counters={
            "ingest": ("Records and groups of ingest.", lambda: asdict(center.ingest.counts)),
            "database": ("Work of the database.", lambda: _database_counters(center)),
            "commands": ("Commands and their targets.", lambda: _commands(center, waiting=False)),
            "config": ("Configurations sent and reported.", lambda: _configs(center, False)),
            "jobs": ("Jobs and their steps.", lambda: _jobs(center, live=False)),
            "tasks": ("Decisions on tasks.", lambda: _tasks(center, now=False)),
            "broker": ("Traffic of the embedded broker.", lambda: _broker(center, now=False)),
            "uplink": ("Messages to and from an external broker.", lambda: _uplink(center)),
        },
        gauges={
            "nodes": ("Nodes of the fleet.", lambda: _nodes(center)),
            "ingest": ("What ingest has before it.", lambda: _ingest(center)),
            "database": ("What waits for the database.", lambda: _database_queue(center)),
            "commands": ("Targets that wait.", lambda: _commands(center, waiting=True)),
            "config": ("Configurations under way.", lambda: _configs(center, True)),
            "jobs": ("Jobs that are not at rest.", lambda: _jobs(center, live=True)),
            "tasks": ("Tasks that wait.", lambda: _tasks(center, now=True)),
            "events": ("Event streams.", lambda: {"subscribers": center.events.subscribers}),
            "broker": ("What the embedded broker holds.", lambda: _broker(center, now=True)),
            "center": ("Whether this center was restored.", lambda: _identity(center)),
            "ready": ("Whether a part works, 1 or 0.", lambda: _ready(center)),
        },
        labelled={
            "rejected": ("Messages that were refused.", "reason", lambda: center.rejected.counts),
            "received": ("Messages that were taken.", "kind", lambda: center.intake.received),
            "broker_closed": (
                "Connections to the embedded broker that ended.",
                "reason",
                lambda: _closed(center),
            ),
        },
    )


def _database_counters(center: Rooms) -> Mapping[str, float]:
    try:
        stats = center.database.stats()
    except DatabaseError:
        return {}  # it starts or stops
    return {
        "transactions": stats.transactions,
        "failed_transactions": stats.failed_transactions,
        "works": stats.works,
        "failed_works": stats.failed_works,
        "commit_seconds": stats.commit_s_sum,
    }


def _database_queue(center: Rooms) -> Mapping[str, float]:
    try:
        return {"queue_length": center.database.stats().queue_length}
    except DatabaseError:
        return {}


def _nodes(center: Rooms) -> Mapping[str, float]:
    registry = center.nodes.registry
    return {"registered": len(registry), "online": len(registry.online())}


def _ingest(center: Rooms) -> Mapping[str, float]:
    return {"queue_length": center.ingest.waiting, "streams_with_holes": center.ingest.holes}


def _commands(center: Rooms, *, waiting: bool) -> Mapping[str, float]:
    stats = center.commands.stats()
    return {name: value for name, value in stats.items() if (name == "waiting") == waiting}


def _configs(center: Rooms, waiting: bool) -> Mapping[str, float]:
    stats = center.configs.stats()
    return {name: value for name, value in stats.items() if (name == "waiting") == waiting}


def _jobs(center: Rooms, *, live: bool) -> Mapping[str, float]:
    stats = center.jobs.stats()
    return {name: value for name, value in stats.items() if (name == "live") == live}


def _tasks(center: Rooms, *, now: bool) -> Mapping[str, float]:
    stats = center.tasks.stats()
    return {name: value for name, value in stats.items() if (name in _TASKS_NOW) == now}


def _broker(center: Rooms, *, now: bool) -> Mapping[str, float]:
    if not isinstance(center.uplink, EmbeddedUplink):
        return {}
    stats = asdict(center.uplink.broker.stats())
    return {
        name: value
        for name, value in stats.items()
        if isinstance(value, int | float) and (name in _BROKER_NOW) == now
    }


def _closed(center: Rooms) -> Mapping[str, float]:
    if not isinstance(center.uplink, EmbeddedUplink):
        return {}
    return center.uplink.broker.stats().closed


def _uplink(center: Rooms) -> Mapping[str, float]:
    if not isinstance(center.uplink, ExternalUplink):
        return {}
    return {"dropped": center.uplink.dropped, "unsent": center.uplink.unsent}


def _identity(center: Rooms) -> Mapping[str, float]:
    identity = center.identity
    return {
        "restored": float(identity.restored),
        "generation": identity.generation,
        "nodes_ahead": identity.ahead,
    }


def _ready(center: Rooms) -> Mapping[str, float]:
    return {name: float(works) for name, works in center.checks().items()}
