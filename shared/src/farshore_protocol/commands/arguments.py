"""A command's arguments against its verb's type: refused in the same words by center and node. Pure.

A node that ignored an argument that it does not know would do something else than what was asked
(``file-write`` without its ``expect``), so unknown ones are refused as well.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from farshore_protocol.codec import convert
from farshore_protocol.commands.catalogue import Verb
from farshore_protocol.commands.schema import args_schema, type_text
from farshore_protocol.errors import MessageError, RemoteProtocolError

_AT_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")


class ArgumentsError(RemoteProtocolError):
    """``field``: the argument that is to blame, ``args.argv[0]`` for example; ``expected``: instead,
    empty where the detail says it."""

    def __init__(self, *, field: str, detail: str, expected: str) -> None:
        super().__init__("bad_args", detail)
        self.field = field
        self.expected = expected

    def sentence(self) -> str:
        """All three in one line for people."""
        expected = f" (expected {self.expected})" if self.expected else ""
        return f"{self.field}: {self.detail}{expected}"


def check_arguments(verb: Verb, args: Mapping[str, Any]) -> Any:
    """The arguments as the verb's type. Raises ArgumentsError."""
    known = [each.name for each in fields(verb.args)]
    for name in args:
        if name not in known:
            raise _unknown(verb, name, known)
    try:
        return convert(verb.args, args)
    except MessageError as exc:
        raise _misfit(verb, exc.detail) from exc


def _unknown(verb: Verb, name: str, known: list[str]) -> ArgumentsError:
    near = difflib.get_close_matches(name, known, n=2)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return ArgumentsError(
        field=f"args.{name[:64]}".encode("ascii", "backslashreplace").decode(),
        detail=f"the verb {verb.name} has no argument {name[:64]!a}{hint}",
        expected=f"of {', '.join(known)}" if known else "no arguments",
    )


def _misfit(verb: Verb, said: str) -> ArgumentsError:
    """msgspec's sentence, with the field that it speaks of."""
    place = _AT_PATH.search(said)
    path = place["path"] if place else ""
    detail = _AT_PATH.sub("", said).removeprefix(f"{verb.args.__name__}: ").replace(" | null`", "`")
    missing = _MISSING.search(detail)
    if missing:
        path += f".{missing['name']}"
    return ArgumentsError(field=f"args{path}", detail=detail, expected=_wanted(verb, path))


def _wanted(verb: Verb, path: str) -> str:
    """What the argument at ``path`` may be; nothing where none is to blame alone."""
    name = re.match(r"\.(\w+)", path)
    of = args_schema(verb).get("properties", {}).get(name[1] if name else "")
    return type_text(of) if of else ""
