"""The protocol as an AsyncAPI 3.0 document: topics, messages and verbs, from the tables in the code. Pure.

It speaks as the node does: what it receives and what it sends. Whoever drives a node by hand does the
reverse. Written to ``docs/asyncapi.json`` by ``tests/protocol/asyncapi_docs.py``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from farshore_protocol.commands import VERBS, Command, CommandReport, Verb
from farshore_protocol.commands.schema import message_schemas
from farshore_protocol.config.messages import ConfigReport, DesiredConfig
from farshore_protocol.messages import (
    Birth,
    CenterStateMessage,
    ErrorMessage,
    Event,
    FactsReport,
    Heartbeat,
    LogLines,
    LogRenewal,
    Presence,
    Probe,
    ProbeAnswer,
    TimeAnswer,
    TimeRequest,
)
from farshore_protocol.names import NAME
from farshore_protocol.stream import StreamAck
from farshore_protocol.tasks import DesiredTasks, LeaseAnswer, LeaseRequest, TasksReport
from farshore_protocol.telemetry import TelemetryBatch
from farshore_protocol.topics import CenterState, Down, GroupCommand, Up
from farshore_protocol.version import PROTOCOL

SCHEMAS = "#/components/schemas/"
MESSAGES = "#/components/messages/"

PARAMETERS = {
    "node": f"The node's name: {NAME}",
    "group": "A group's path with ~ for /, eu~hamburg for example; all: every node",
    "verb": "What to do",
    "command": "The command's id",
    "kind": "What happened: loss, refused, outbox and others",
    "set": "Which telemetry: host and others",
    "unit": "Whose log",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One topic. ``action``: what the node does with it; ``message``: its type, None where it has none
    of its own."""

    name: str
    address: str
    action: Literal["send", "receive"]
    title: str
    message: type[Any] | None
    qos: int = 1
    retain: bool = False


def _up(kind: Any, name: str | None, title: str, message: type[Any] | None, **more: Any) -> Channel:
    address = Up(node="{node}", kind=kind, name=name).build()
    word = f"{kind}-{name}" if name and not name.startswith("{") else str(kind)
    return Channel(name=word, address=address, action="send", title=title, message=message, **more)


def _down(kind: Any, name: str | None, title: str, message: type[Any], **more: Any) -> Channel:
    address = Down(node="{node}", kind=kind, name=name).build()
    word = f"down-{kind}" + (f"-{name}" if name and not name.startswith("{") else "")
    return Channel(
        name=word, address=address, action="receive", title=title, message=message, **more
    )


CHANNELS: tuple[Channel, ...] = (
    _up("presence", None, "Whether the node is there; also its will", Presence, retain=True),
    _up("birth", None, "The first word on every connection", Birth),
    _up("heartbeat", None, "A sign of life", Heartbeat, qos=0),
    _up("time", None, "Asks the center for its time", TimeRequest, qos=0),
    _up("res", "{command}", "The states of a command, its output and its result", CommandReport),
    _up("evt", "{kind}", "Something happened", Event),
    _up("rep", "facts", "What machine this is", FactsReport),
    _up("rep", "config", "What becomes of a configuration", ConfigReport),
    _up("rep", "tasks", "What work the node has", TasksReport),
    _up("lease", None, "Asks for leases to be renewed", LeaseRequest, qos=0),
    _up("tel", "{set}", "A batch of samples; zlib-packed above 1 KB", TelemetryBatch),
    _up("log", "{unit}", "A live tail, while somebody asks for it", LogLines, qos=0),
    _up("probe", None, "A packet of link-test", Probe, qos=0),
    _down("ack", None, "What the center has, by ranges", StreamAck),
    _down("time", None, "The answer to a time request", TimeAnswer),
    _down("probe", None, "What the center says to a packet of link-test", ProbeAnswer, qos=0),
    _down("log", "{unit}", "Renews the lease of a live tail", LogRenewal, qos=0),
    _down("error", None, "A message of the node was refused", ErrorMessage),
    _down("desired", "config", "What to run; zlib-packed where that is smaller", DesiredConfig),
    _down("desired", "tasks", "What work to do; zlib-packed where that is smaller", DesiredTasks),
    _down("lease", None, "The leases that are renewed", LeaseAnswer, qos=0),
    Channel(
        name="center",
        address=CenterState().build(),
        action="receive",
        title="The center's state and wishes; also its will",
        message=CenterStateMessage,
        retain=True,
    ),
)


def document() -> dict[str, Any]:
    """The whole document, of plain JSON values."""
    channels = {channel.name: _channel(channel) for channel in CHANNELS}
    operations = {f"{c.action}-{c.name}": _operation(c) for c in CHANNELS}
    messages: dict[str, Any] = {
        c.message.__name__: _message(c.message) for c in CHANNELS if c.message is not None
    }
    for verb in _verbs():
        messages |= _verb_messages(verb)
        channels[f"cmd-{verb.name}"] = _verb_channel(verb)
        operations[f"receive-cmd-{verb.name}"] = _verb_operation(verb)
    channels["group-cmd"] = _group_channel()
    operations["receive-group-cmd"] = {
        "action": "receive",
        "channel": {"$ref": "#/channels/group-cmd"},
        "title": "A command to everyone in a group",
        "bindings": _bindings(1, retain=False),
        "reply": {"channel": {"$ref": "#/channels/res"}},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Farshore: the wire protocol of nodes",
            "version": f"{PROTOCOL}.0.0",
            "description": "MQTT 3.1.1, clean sessions, JSON. As a node sees it: it sends below "
            "fs1/up/{node}/ and receives below fs1/down/{node}/, from its groups and from the center. "
            "Unknown fields of a message are ignored, unknown arguments of a verb are refused.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "dev": {
                "host": "127.0.0.1:1883",
                "protocol": "mqtt",
                "protocolVersion": "3.1.1",
                "description": "The broker of a center that runs with --dev",
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": _schemas()},
    }


def _verbs() -> Iterator[Verb]:
    for name in sorted(VERBS):
        yield VERBS[name]


def _channel(channel: Channel) -> dict[str, Any]:
    found: dict[str, Any] = {"address": channel.address, "title": channel.title}
    if "{" in channel.address:
        found["parameters"] = _parameters(channel.address)
    if channel.message is not None:
        name = channel.message.__name__
        found["messages"] = {name: {"$ref": MESSAGES + name}}
    if channel.name == "res":
        found["messages"] |= {
            f"{verb.name}-report": {"$ref": f"{MESSAGES}{verb.name}-report"} for verb in _verbs()
        }
    return found


def _parameters(address: str) -> dict[str, Any]:
    return {
        name: {"description": text} for name, text in PARAMETERS.items() if f"{{{name}}}" in address
    }


def _operation(channel: Channel) -> dict[str, Any]:
    return {
        "action": channel.action,
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "title": channel.title,
        "bindings": _bindings(channel.qos, retain=channel.retain),
    }


def _bindings(qos: int, *, retain: bool) -> dict[str, Any]:
    return {"mqtt": {"qos": qos, "retain": retain, "bindingVersion": "0.2.0"}}


def _message(kind: type[Any]) -> dict[str, Any]:
    payload: dict[str, Any] = {"$ref": SCHEMAS + kind.__name__}
    if kind is StreamAck:
        payload = {"type": "object", "additionalProperties": payload}
    return {"name": kind.__name__, "payload": payload}


def _verb_messages(verb: Verb) -> dict[str, Any]:
    result = [] if verb.result is None else [{"$ref": SCHEMAS + verb.result.__name__}]
    said: dict[str, Any] = {"verb": {"const": verb.name}}
    if result:
        said["result"] = {"anyOf": [*result, {"type": "object"}, {"type": "null"}]}
    return {
        verb.name: {
            "name": verb.name,
            "title": verb.summary,
            "payload": {
                "allOf": [
                    {"$ref": f"{SCHEMAS}{Command.__name__}"},
                    {"properties": {"args": {"$ref": SCHEMAS + verb.args.__name__}}},
                ]
            },
        },
        f"{verb.name}-report": {
            "name": f"{verb.name}-report",
            "title": f"What became of {verb.name}",
            "payload": {
                "allOf": [{"$ref": f"{SCHEMAS}{CommandReport.__name__}"}, {"properties": said}]
            },
        },
    }


def _verb_channel(verb: Verb) -> dict[str, Any]:
    address = Down(node="{node}", kind="cmd", name=verb.name).build()
    return {
        "address": address,
        "title": verb.summary,
        "parameters": _parameters(address),
        "messages": {verb.name: {"$ref": MESSAGES + verb.name}},
    }


def _verb_operation(verb: Verb) -> dict[str, Any]:
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/cmd-{verb.name}"},
        "title": verb.summary,
        "bindings": _bindings(1, retain=False),
        "reply": {
            "channel": {"$ref": "#/channels/res"},
            "messages": [{"$ref": f"#/channels/res/messages/{verb.name}-report"}],
        },
        "x-risk": verb.risk,
        "x-idempotent": verb.idempotent,
        "x-timeout-s": float(verb.timeout_s),
    }


def _group_channel() -> dict[str, Any]:
    # ``build`` checks a path, and a parameter is none.
    address = GroupCommand(group="all", verb="{verb}").build().replace("/all/", "/{group}/")
    return {
        "address": address,
        "title": "A command to everyone in a group, and in those below it",
        "parameters": _parameters(address),
        "messages": {verb.name: {"$ref": MESSAGES + verb.name} for verb in _verbs()},
    }


def _schemas() -> dict[str, Any]:
    kinds: list[type[Any]] = [c.message for c in CHANNELS if c.message is not None]
    kinds += [Command, *(verb.args for verb in VERBS.values())]
    kinds += [verb.result for verb in VERBS.values() if verb.result is not None]
    found = message_schemas(list(dict.fromkeys(kinds)), SCHEMAS + "{name}")
    for verb in VERBS.values():
        found[verb.args.__name__]["additionalProperties"] = False
    return {name: _draft_7(found[name]) for name in sorted(found)}


def _draft_7(schema: Any) -> Any:
    """Tuples as AsyncAPI's own dialect, a superset of draft 7, has them."""
    if isinstance(schema, list):
        return [_draft_7(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    old = {key: _draft_7(value) for key, value in schema.items()}
    if isinstance(old.get("prefixItems"), list):
        old["items"] = old.pop("prefixItems")
        old["additionalItems"] = False
    return old
