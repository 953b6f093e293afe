"""What a command that a person wrote by hand is known by, and what the center is told of it. Pure.

A person's command may have no id, and may have one that was used before. Its **mark** stands for what
it asks for (verb and arguments): an id that comes again with another mark is no duplicate.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import orjson
from farshore_protocol.codec import encode
from farshore_protocol.commands import Command

GROUP_PERIOD_MS = 60_000
"""Nodes that get a command to a group in the same period give it the same id."""
ARGS_TOLD_MAX_BYTES = 4 * 1024
_MARK = b"#"
"""No JSON begins so: in the ledger a mark takes the place of the request once that is not needed."""
_DIGITS = 26
_TRIES = 100


def mark_of(verb: str, command: Command) -> bytes:
    """Empty, which contradicts nothing: of a question, which has no arguments, and of a secret command,
    of whose arguments nothing is kept."""
    if command.ask or command.secret:
        return b""
    return _marked(verb, orjson.dumps(command.args, option=orjson.OPT_SORT_KEYS))


def mark_of_garbage(verb: str, payload: bytes) -> bytes:
    """Of a command that can't be read."""
    return _marked(verb, b"garbage\0" + payload)


def is_mark(text: bytes) -> bool:
    return text.startswith(_MARK)


def _marked(verb: str, content: bytes) -> bytes:
    return _MARK + hashlib.sha256(verb.encode() + b"\0" + content).hexdigest()[:32].encode()


def group_id(
    group: str, verb: str, payload: bytes, *, now_ms: int, is_used: Callable[[str], bool]
) -> str | None:
    """The id of a command to a group that has none: the same at every node, as long as their clocks
    agree on the period, so that the center sees one command with many targets.

    Said again within the period it is another command, at every node the second one. None: said too
    often to be counted.
    """
    said = f"{group}\0{verb}\0{now_ms // GROUP_PERIOD_MS}\0".encode() + payload
    base = f"group-{hashlib.sha256(said).hexdigest()[:_DIGITS]}"
    names = (base if n == 1 else f"{base}-{n}" for n in range(1, _TRIES + 1))
    return next((name for name in names if not is_used(name)), None)


def conflict_id(command_id: str, mark: bytes) -> str:
    """Under which it is told that an id was used for something else: always the same for the same."""
    digest = hashlib.sha256(command_id.encode() + b"\0" + mark).hexdigest()
    return f"conflict-{digest[:_DIGITS]}"


def told_of(command: Command, group: str | None) -> dict[str, Any] | None:
    """``ByHand`` for the report of a command; None for one of a center."""
    if command.iat is not None:
        return None
    told: dict[str, Any] = {} if group is None else {"group": group}
    if command.secret:
        return {**told, "args": None}
    if len(encode(command.args)) > ARGS_TOLD_MAX_BYTES:
        return without_args({**told, "args": command.args})
    return {**told, "args": command.args}


def without_args(told: dict[str, Any]) -> dict[str, Any]:
    return {**told, "args": None, "args_bytes": len(encode(told["args"]))}
