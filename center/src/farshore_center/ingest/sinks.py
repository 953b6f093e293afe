"""Where accepted records go, by stream: prepared on the loop, stored in ingest's transaction."""

from collections.abc import Callable, Sequence
from typing import Protocol

from farshore_protocol.codec import convert
from farshore_protocol.commands import CommandReport
from farshore_protocol.config.messages import ConfigReport
from farshore_protocol.messages import Event, FactsReport, LinkMeasured
from farshore_protocol.tasks import TaskEvent, TasksReport
from farshore_protocol.telemetry import TelemetryBatch
from sqlalchemy import Connection

from farshore_center.events.model import Draft
from farshore_center.ingest.arrival import Arrival
from farshore_center.nodes import store as node_store
from farshore_center.tasks.hearing import Moment
from farshore_center.tasks.reports import LinkWord, Word
from farshore_center.telemetry import store as telemetry_store
from farshore_center.telemetry.inbox import pack
from farshore_center.telemetry.samples import Batch

Write = Callable[[Connection], list[Draft]]
Timed = tuple[Arrival, int, bool]
"""An accepted record, its time in ms on the center's clock, and whether that is approximate."""


class ReportRecorder(Protocol):
    """What the commands' room does with reports, inside the transaction."""

    def record_many(
        self, conn: Connection, reports: Sequence[tuple[str, CommandReport]], /
    ) -> list[Draft]: ...


class ConfigRecorder(Protocol):
    """The same of the configuration's room; ``reported`` is called after the commit."""

    def record_many(
        self, conn: Connection, pairs: Sequence[tuple[str, ConfigReport]], /
    ) -> list[Draft]: ...

    def reported(self) -> None: ...


class TaskRecorder(Protocol):
    """The same of the room of tasks: its reports, and events of the kinds ``task`` and ``link``."""

    def record_many(self, conn: Connection, words: Sequence[Word], /) -> list[Draft]: ...

    def record_links(self, conn: Connection, words: Sequence[LinkWord], /) -> None: ...

    def reported(self) -> None: ...


class NoTasks:
    """A center that knows no tasks."""

    def record_many(self, _conn: Connection, _words: Sequence[Word], /) -> list[Draft]:
        return []

    def record_links(self, _conn: Connection, _words: Sequence[LinkWord], /) -> None:
        """Nobody reckons with them."""

    def reported(self) -> None:
        """Nobody waits for it."""


def telemetry_write(records: Sequence[Timed], received_ms: int) -> Write:
    rows = [
        pack(arrival.node, batch, received_ms=received_ms, wire=arrival.wire)
        for arrival, batch in telemetry_batches(records)
    ]

    def write(connection: Connection) -> list[Draft]:
        telemetry_store.insert_batches(connection, rows)
        return []

    return write


def telemetry_batches(records: Sequence[Timed]) -> list[tuple[Arrival, Batch]]:
    return [
        (
            arrival,
            Batch(ts_ms=at_ms, dt_ms=arrival.body.dt, series=arrival.body.m, approximate=rough),
        )
        for arrival, at_ms, rough in records
        if isinstance(arrival.body, TelemetryBatch)
    ]


def results_write(records: Sequence[Timed], recorder: ReportRecorder) -> Write:
    reports = [
        (arrival.node, arrival.body)
        for arrival, _, _ in records
        if isinstance(arrival.body, CommandReport)
    ]
    return lambda connection: recorder.record_many(connection, reports)


def _moment(arrival: Arrival, at_ms: int) -> Moment:
    return Moment(at_ms, arrival.envelope.boot, arrival.envelope.up_ms)


def events_write(records: Sequence[Timed], tasks: TaskRecorder) -> Write:
    words = [
        Word(arrival.node, convert(TaskEvent, arrival.body.data), _moment(arrival, at_ms))
        for arrival, at_ms, _ in records
        if isinstance(arrival.body, Event) and arrival.topic.name == "task"
    ]
    drafts = [
        Draft(
            kind="stream.loss" if arrival.topic.name == "loss" else f"evt.{arrival.topic.name}",
            node=arrival.node,
            data={
                **arrival.body.data,
                **({"approximate": True} if rough else {}),
                **({"hist": True} if arrival.envelope.hist else {}),
            },
            at_ms=at_ms,
        )
        for arrival, at_ms, rough in records
        if isinstance(arrival.body, Event) and arrival.topic.name != "task"
    ]
    links = [
        LinkWord(arrival.node, convert(LinkMeasured, arrival.body.data), at_ms)
        for arrival, at_ms, _ in records
        if isinstance(arrival.body, Event) and arrival.topic.name == "link"
    ]

    def write(conn: Connection) -> list[Draft]:
        if links:
            tasks.record_links(conn, links)
        return drafts + (tasks.record_many(conn, words) if words else [])

    return write


def reports_write(
    records: Sequence[Timed], recorder: ConfigRecorder, tasks: TaskRecorder, received_ms: int
) -> Write:
    # The newest of each node is enough. A later one in the list was made later: of one epoch its seq
    # says so, while the node's wall clock may have been set in between.
    newest = {
        arrival.node: (arrival.node, arrival.body.digest, arrival.body.facts)
        for arrival, _, _ in records
        if isinstance(arrival.body, FactsReport)
    }

    words = [
        Word(arrival.node, arrival.body, _moment(arrival, at_ms))
        for arrival, at_ms, _ in records
        if isinstance(arrival.body, TasksReport)
    ]
    configs = [
        (arrival.node, arrival.body)
        for arrival, _, _ in records
        if isinstance(arrival.body, ConfigReport)
    ]

    def write(connection: Connection) -> list[Draft]:
        node_store.set_facts(connection, newest.values(), received_ms)
        drafts = recorder.record_many(connection, configs) if configs else []
        return drafts + (tasks.record_many(connection, words) if words else [])

    return write
