"""A verb's arguments as words of a command line. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from farshore_center.cli.cells import clean
from farshore_center.cli.errors import BadUsageError, RefusedError

ARGV = "argv"


def arguments(given: Sequence[str], argv: Sequence[str] | None) -> dict[str, Any]:
    """``--arg`` options and the words after ``--`` as the verb's arguments."""
    args: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise BadUsageError(f"--arg {clean(text)!r}: expected K=V")
        if key in args:
            raise BadUsageError(f"--arg {clean(key)} is given twice")
        args[key] = json_or_text(value)
    if argv is not None:
        if ARGV in args:
            raise BadUsageError(f"--arg {ARGV} and words after --: give one of them")
        args[ARGV] = list(argv)
    return args


def json_or_text(text: str) -> Any:
    """What ``text`` is as JSON, or itself. NaN and Infinity are no JSON."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def text_hint(refused: RefusedError, args: Mapping[str, Any]) -> str:
    """How to give a text that looks like JSON: ``80`` was taken for a number. Empty: that is not it."""
    for error in refused.document.get("errors") or ():
        name = str(error.get("field", "")).removeprefix("args.")
        value = args.get(name)
        if not isinstance(value, str) and name in args and "`str`" in str(error.get("detail")):
            given = json.dumps(value, ensure_ascii=False)
            return clean(
                f"--arg {name}={given} was read as JSON; as text: --arg '{name}=\"{given}\"'"
            )
    return ""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
