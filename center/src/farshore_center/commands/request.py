"""A new command as somebody asks for it, and what must be true of it. Pure."""

import difflib
import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson
from farshore_protocol import codec
from farshore_protocol.commands import VERBS, Verb
from farshore_protocol.commands.arguments import ArgumentsError, check_arguments
from farshore_protocol.errors import LocalProtocolError

from farshore_center.api.problems import Problem

NOT_VALID = "The request is not valid"
DEFAULT_TTL_S = 60.0
MAX_S = 7 * 86_400
MAX_KEY_LENGTH = 255
LIFE_UNKNOWN_S = 86_400.0
"""Of a command that was given past the center, nobody said how long it may run."""

_ENVELOPE_BYTES = 1024
"""More than the message needs around its arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeChoice:
    """Which nodes somebody means: exactly one of the four."""

    node: str | None = None
    nodes: tuple[str, ...] | None = None
    all: bool = False
    selector: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCommand:
    """`nodes` is what the choice means now; `by` is who asks.

    `allow_empty`: a choice that means nobody makes a command that is done at once. `secret`: its
    arguments are shown to nobody, and they and what comes of them are erased when it is over.
    `foreign`: a node has announced the verb, and this center's catalogue does not hold it: its
    arguments and its timeout are the node's business. `announced`: what nodes have announced, of
    which a near one is named.
    """

    choice: NodeChoice
    nodes: tuple[str, ...]
    verb: str
    args: Mapping[str, Any] = field(default_factory=dict)
    ttl_s: float = DEFAULT_TTL_S
    timeout_s: float | None = None
    by: str = "api"
    allow_empty: bool = False
    secret: bool = False
    foreign: bool = False
    announced: frozenset[str] = frozenset()

    def to(self, nodes: Sequence[str]) -> "NewCommand":
        """The same for these nodes."""
        return replace(self, nodes=tuple(nodes))


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedCommand:
    """A command that can be sent. `digest` is of the question, not of the nodes that it means now."""

    verb: Verb
    nodes: tuple[str, ...]
    args: str
    ttl_ms: int
    timeout_s: float | None
    by: str
    digest: str
    secret: bool = False


def checked(request: NewCommand) -> CheckedCommand:
    """The request in the form in which it is stored, or the Problem that it has."""
    verb = _verb(request)
    args = _args(verb, request.args, check=not request.foreign)
    if not request.nodes and not request.allow_empty:
        raise _no_target(request.choice)
    timeout_s = request.timeout_s
    if timeout_s is not None:
        _check_seconds("timeout_s", timeout_s)
    return CheckedCommand(
        verb=verb,
        nodes=tuple(sorted(set(request.nodes))),
        args=args,
        ttl_ms=_check_seconds("ttl_s", request.ttl_s),
        timeout_s=verb.timeout_s if timeout_s is None and not request.foreign else timeout_s,
        by=request.by,
        digest=digest(request),
        secret=request.secret,
    )


def cancel_request(
    command_id: str, verb: str, nodes: Sequence[str], *, left_s: float, timeout_s: float | None
) -> CheckedCommand:
    """The command that asks nodes to end another one; it lasts as long as that may wait (``left_s``)
    and run."""
    life_s = max(left_s, 0.0) + (timeout_s or LIFE_UNKNOWN_S)
    return checked(
        NewCommand(
            choice=NodeChoice(nodes=tuple(nodes)),
            nodes=tuple(nodes),
            verb="cancel",
            args={"id": command_id, "verb": verb},
            ttl_s=min(max(life_s, DEFAULT_TTL_S), MAX_S),
        )
    )


def _no_target(choice: NodeChoice) -> Problem:
    chosen_by = "nodes" if choice.selector is None else "selector"
    hint = "" if choice.selector is None else "; allow_empty takes none as well"
    return Problem(
        status=422,
        title="The command has no target",
        field=chosen_by,
        detail="no node is chosen" if choice.selector is None else "the selector means no node now",
        expected=f"at least one node{hint}",
    )


def digest(request: NewCommand) -> str:
    """Equal for requests that ask for the same."""
    choice = asdict(request.choice)
    if request.choice.selector is None:
        del choice["selector"]  # a key that was given before there were selectors stays valid
    asked = {
        "choice": choice,
        "verb": request.verb,
        "args": request.args,
        "ttl_s": float(request.ttl_s),
        "timeout_s": None if request.timeout_s is None else float(request.timeout_s),
    }
    if request.secret:
        asked["secret"] = True  # a key that was given before there was this stays valid
    try:
        text = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError) as exc:
        raise _not_json(str(exc)) from exc
    return hashlib.sha256(text).hexdigest()


def check_key(key: str) -> str:
    """An Idempotency-Key, as it may be stored."""
    if not key or len(key) > MAX_KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise Problem(
            status=422,
            title=NOT_VALID,
            field="Idempotency-Key",
            detail=f"{key[:MAX_KEY_LENGTH]!a} can't be a key",
            expected=f"1 to {MAX_KEY_LENGTH} printable ASCII characters",
        )
    return key


def _verb(request: NewCommand) -> Verb:
    verb = VERBS.get(request.verb)
    if verb is not None:
        return verb
    if request.foreign:
        return _foreign(request.verb)
    known = {*VERBS, *request.announced}
    raise Problem(
        status=422,
        title=NOT_VALID,
        field="verb",
        detail=f"there is no verb {request.verb[:64]!a}{near_verbs(request.verb, known)}",
        expected=f"one of {', '.join(sorted(known))}",
    )


def near_verbs(name: str, known: Collection[str]) -> str:
    """The end of a sentence that says that there is no such verb."""
    near = difflib.get_close_matches(name, sorted(known), n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _foreign(name: str) -> Verb:
    """A verb that a node has announced and this center's catalogue does not hold."""
    return Verb(name=name, summary="", risk="danger", idempotent=False, timeout_s=math.inf)


def _args(verb: Verb, args: Mapping[str, Any], *, check: bool) -> str:
    try:
        if check:
            check_arguments(verb, args)
        text = codec.encode(args)
    except ArgumentsError as exc:
        raise _bad_args(exc.field, exc.detail, exc.expected) from exc
    except LocalProtocolError as exc:
        raise _not_json(str(exc)) from exc
    if len(text) > codec.MAX_MESSAGE_BYTES - _ENVELOPE_BYTES:
        raise _bad_args(
            "args",
            f"{len(text)} bytes as JSON",
            f"{codec.MAX_MESSAGE_BYTES - _ENVELOPE_BYTES} bytes or fewer",
        )
    return text.decode()


def _bad_args(field: str, detail: str, expected: str) -> Problem:
    return Problem(status=422, title=NOT_VALID, field=field, detail=detail, expected=expected)


def _not_json(why: str) -> Problem:
    return _bad_args("args", f"can't be written as JSON: {why}", "JSON with valid Unicode text")


def _check_seconds(field: str, value: float) -> int:
    """In milliseconds, at least one."""
    if not math.isfinite(value) or not 0 < value <= MAX_S:
        raise Problem(
            status=422,
            title=NOT_VALID,
            field=field,
            detail=f"{value} s",
            expected=f"more than 0 and at most {MAX_S} s (7 days)",
        )
    return max(1, round(value * 1000))
