"""A record as it arrives: its envelope checked, its body read. Pure.

A record whose envelope is right but whose body is not has its ``fault``: its seq is known, so the
node can be told that it need not send it again, and the ledger says why it was not stored.
"""

from dataclasses import dataclass, replace

from farshore_protocol.codec import convert, decode
from farshore_protocol.commands import CommandReport
from farshore_protocol.config.messages import ConfigReport
from farshore_protocol.errors import MessageError
from farshore_protocol.messages import Envelope, Event, FactsReport, LinkMeasured
from farshore_protocol.messages.record import STREAM_OF, Token
from farshore_protocol.stream import STREAMS
from farshore_protocol.tasks import TaskEvent, TasksReport
from farshore_protocol.telemetry import TelemetryBatch, check_batch, inflate
from farshore_protocol.telemetry.batch import MAX_INFLATED_BYTES
from farshore_protocol.topics import Up

MIN_TS_MS = -(2**53)
MAX_TS_MS = 253_402_300_799_000
"""The end of the year 9999: a wall clock beyond is no clock."""

Body = TelemetryBatch | CommandReport | Event | FactsReport | ConfigReport | TasksReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """``wire``: the payload as it came; ``body`` is None exactly when there is a ``fault``."""

    node: str
    stream: str
    topic: Up
    envelope: Envelope
    body: Body | None
    wire: bytes
    fault: MessageError | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.node, self.stream, self.envelope.epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWord:
    """The data of ``evt/loss``."""

    stream: str
    epoch: Token
    range: tuple[int, int]
    reason: str = "not said"


def refused(arrival: Arrival, fault: MessageError) -> Arrival:
    """The same record with a body that can't be taken after all."""
    return replace(arrival, body=None, fault=fault)


def read(topic: Up, payload: bytes) -> Arrival:
    """Raises MessageError when not even the envelope can be read."""
    plain = inflate(payload)
    try:
        body = _read_body(topic, plain)
    except MessageError as exc:
        # Only now is it worth to look for the envelope alone.
        if exc.reason == "too_large":
            raise
        envelope = decode(Envelope, plain, limit_bytes=MAX_INFLATED_BYTES)
        return _arrival(topic, envelope, None, payload, exc)
    return _arrival(topic, body, body, payload, None)


def _arrival(
    topic: Up, envelope: Envelope, body: Body | None, wire: bytes, fault: MessageError | None
) -> Arrival:
    return Arrival(
        node=topic.node,
        stream=STREAM_OF[topic.kind],
        topic=topic,
        envelope=envelope,
        body=body,
        wire=wire,
        fault=fault,
    )


def _read_body(topic: Up, plain: bytes) -> Body:
    body = _decode_body(topic, plain)
    if not MIN_TS_MS <= body.ts <= MAX_TS_MS:
        raise MessageError(
            "bad_clock", f"ts {body.ts}: expected ms since 1970, before the year 10000"
        )
    return body


def _decode_body(topic: Up, plain: bytes) -> Body:
    if topic.device is not None:
        raise MessageError("unknown_topic", f"{topic.build()!r}: devices are not served yet")
    match topic.kind:
        case "tel":
            return check_batch(decode(TelemetryBatch, plain, limit_bytes=MAX_INFLATED_BYTES))
        case "res":
            report = decode(CommandReport, plain)
            if report.id != topic.name:
                raise MessageError(
                    "bad_message",
                    f"CommandReport: id {report.id!r} in a record on {topic.build()!r}",
                )
            return report
        case "evt":
            event = decode(Event, plain)
            if topic.name == "task":
                convert(
                    TaskEvent, event.data
                )  # what can't be read is refused, and not sent for ever
            elif topic.name == "link":
                convert(LinkMeasured, event.data)
            return event
        case "rep" if topic.name == "facts":
            return decode(FactsReport, plain)
        case "rep" if topic.name == "config":
            return decode(ConfigReport, plain)
        case "rep" if topic.name == "tasks":
            return decode(TasksReport, plain)
    raise MessageError("unknown_topic", f"{topic.build()!r}: this center knows no such record")


def loss_word(event: Event) -> LossWord:
    """The declaration in an ``evt/loss``; MessageError when it is none."""
    word = convert(LossWord, event.data)
    first, last = word.range
    if word.stream not in STREAMS or not 1 <= first <= last < 2**53:
        raise MessageError("bad_message", f"evt/loss: {word.stream} {first}..{last} is no range")
    return word
