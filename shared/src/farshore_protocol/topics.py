"""Topics, built and parsed: ``parse(topic.build()) == topic`` for each of them.

Nowhere else in Farshore is a topic put together or taken apart.
"""

from dataclasses import dataclass
from typing import Literal

from farshore_protocol.errors import LocalProtocolError, TopicError
from farshore_protocol.names import (
    EVERYONE,
    BadNameError,
    check_name,
    group_ancestors,
    group_from_level,
    group_to_level,
    is_name,
)

PREFIX = "fs1"

UpKind = Literal[
    "presence", "birth", "heartbeat", "time", "probe", "lease", "res", "evt", "rep", "tel", "log"
]
DownKind = Literal["cmd", "desired", "log", "ack", "time", "probe", "lease", "error"]

_UP_PLAIN = frozenset({"presence", "birth", "heartbeat", "time", "probe", "lease"})
_UP_NAMED = frozenset({"res", "evt", "rep", "tel", "log"})
_DOWN_PLAIN = frozenset({"ack", "time", "probe", "lease", "error"})
_DOWN_NAMED = frozenset({"cmd", "desired", "log"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """What a node writes: ``fs1/up/<node>[/dev/<device>]/<kind>[/<name>]``."""

    node: str
    kind: UpKind
    name: str | None = None
    device: str | None = None

    def build(self) -> str:
        device = f"dev/{self.device}/" if self.device is not None else ""
        name = f"/{self.name}" if self.name is not None else ""
        return f"{PREFIX}/up/{self.node}/{device}{self.kind}{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Down:
    """What a node reads: ``fs1/down/<node>/<kind>[/<name>]``."""

    node: str
    kind: DownKind
    name: str | None = None

    def build(self) -> str:
        name = f"/{self.name}" if self.name is not None else ""
        return f"{PREFIX}/down/{self.node}/{self.kind}{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DownFile:
    """A chunk of a file that a node asked for: ``fs1/down/<node>/file/<digest>/<n>``."""

    node: str
    digest: str
    chunk: int

    def build(self) -> str:
        return f"{PREFIX}/down/{self.node}/file/{self.digest}/{self.chunk}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCommand:
    """A command to everyone below a group: ``fs1/group/<path>/cmd/<verb>``.

    ``group`` is a path or ``EVERYONE``; the root's ``""`` is no topic level.
    """

    group: str
    verb: str

    def build(self) -> str:
        if not self.group:
            raise LocalProtocolError(f"command to the root group: expected {EVERYONE!r} or a path")
        return f"{PREFIX}/group/{group_to_level(self.group)}/cmd/{self.verb}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CenterState:
    """The center's retained state and its will: ``fs1/center``."""

    def build(self) -> str:
        return f"{PREFIX}/center"


Topic = Up | Down | DownFile | GroupCommand | CenterState


def parse(topic: str) -> Topic:
    """What a topic stands for, or a ``TopicError`` that says what is wrong with it."""
    levels = topic.split("/")
    if levels[0] != PREFIX or len(levels) < 2:
        raise TopicError(f"topic {topic[:200]!r}: expected it to begin with '{PREFIX}/'")
    try:
        match levels[1:]:
            case ["up", node, *rest]:
                return _parse_up(topic, check_name(node, "node"), rest)
            case ["down", node, *rest]:
                return _parse_down(topic, check_name(node, "node"), rest)
            case ["group", level, "cmd", verb] if level:
                return GroupCommand(group=group_from_level(level), verb=check_name(verb, "verb"))
            case ["center"]:
                return CenterState()
    except BadNameError as exc:
        raise TopicError(f"topic {topic[:200]!r}: {exc.detail}") from exc
    raise TopicError(
        f"topic {topic[:200]!r}: expected {PREFIX}/up/<node>/…, {PREFIX}/down/<node>/…, "
        f"{PREFIX}/group/<path>/cmd/<verb> or {PREFIX}/center"
    )


def _parse_up(topic: str, node: str, rest: list[str]) -> Up:
    device = None
    if len(rest) >= 2 and rest[0] == "dev":
        device = check_name(rest[1], "device")
        rest = rest[2:]
    if len(rest) == 1 and rest[0] in _UP_PLAIN:
        return Up(node=node, kind=rest[0], device=device)  # type: ignore[arg-type] # in the set
    if len(rest) == 2 and rest[0] in _UP_NAMED:
        name = check_name(rest[1], rest[0])
        return Up(node=node, kind=rest[0], name=name, device=device)  # type: ignore[arg-type] # in the set
    plain, named = ", ".join(sorted(_UP_PLAIN)), ", ".join(sorted(_UP_NAMED))
    raise TopicError(f"topic {topic[:200]!r}: a node writes {plain}, or one of {named} with a name")


def _parse_down(topic: str, node: str, rest: list[str]) -> Down | DownFile:
    if len(rest) == 1 and rest[0] in _DOWN_PLAIN:
        return Down(node=node, kind=rest[0])  # type: ignore[arg-type] # in the set
    if len(rest) == 2 and rest[0] in _DOWN_NAMED:
        return Down(node=node, kind=rest[0], name=check_name(rest[1], rest[0]))  # type: ignore[arg-type] # in the set
    if len(rest) == 3 and rest[0] == "file" and is_name(rest[1]) and _is_count(rest[2]):
        return DownFile(node=node, digest=rest[1], chunk=int(rest[2]))
    plain, named = ", ".join(sorted(_DOWN_PLAIN)), ", ".join(sorted(_DOWN_NAMED))
    raise TopicError(
        f"topic {topic[:200]!r}: a node reads {plain}, one of {named} with a name, or file/<digest>/<n>"
    )


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9 and (text == "0" or text[0] != "0")


def node_filters(node: str, group: str) -> tuple[str, ...]:
    """Everything that a node listens to: its own topics, its groups' commands, the center's state."""
    groups = (*group_ancestors(group), EVERYONE)
    return (
        f"{PREFIX}/down/{node}/#",
        *(f"{PREFIX}/group/{group_to_level(path)}/cmd/+" for path in groups),
        CenterState().build(),
    )


CENTER_FILTERS: tuple[str, ...] = (f"{PREFIX}/up/#",)
"""Everything that the center listens to."""
