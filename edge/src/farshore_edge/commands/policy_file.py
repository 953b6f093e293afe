"""The policy file: a node's own rules as TOML. What can't be used is told, and opens nothing.

What it holds: docs/settings.md#the-nodes-policy.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from farshore_edge.commands.rules import REST, Rule, Rules, closed, glob

MAX_BYTES = 256 * 1024
_TOP = ("default", "rule")
_KEYS = ("name", "allow", "deny", "argv", "args", "match", "also", "unsigned")


class PolicyError(Exception):
    """What is wrong in it, and where."""


def load_rules(path: str, writable: Iterable[str] = ()) -> Rules | None:
    """The rules of a file; None where no file is set. Never raises: see ``closed``. ``writable``: roots
    below which commands may write, and where it must not lie."""
    if not path:
        return None
    try:
        _check_place(path, writable)
        return read_rules(_text(Path(path)), path)
    except PolicyError as exc:
        return closed(path, str(exc))


def _check_place(path: str, writable: Iterable[str]) -> None:
    for place in (os.path.abspath(path), os.path.realpath(path)):
        for root in map(os.path.realpath, writable):
            if os.path.commonpath((os.path.realpath(os.path.dirname(place)), root)) == root:
                raise PolicyError(f"it lies below {root}, where commands may write it")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as exc:
        raise PolicyError(getattr(exc, "strerror", None) or str(exc)) from exc
    if len(data) > MAX_BYTES:
        raise PolicyError(f"longer than {MAX_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise PolicyError(f"no UTF-8 at byte {exc.start}") from exc


def read_rules(text: str, origin: str) -> Rules:
    """Raises PolicyError, which names the rule and the key."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise PolicyError(f"not TOML: {exc}") from exc
    _only(found, _TOP, "")
    default = found.get("default", "deny")
    if default not in ("allow", "deny"):
        raise PolicyError(f"default = {default!r}: expected 'allow' or 'deny'")
    rules = found.get("rule", [])
    if not isinstance(rules, list) or not all(isinstance(each, dict) for each in rules):
        raise PolicyError("rule: expected [[rule]] tables")
    read = tuple(_rule(each, number) for number, each in enumerate(rules, start=1))
    return Rules(origin=origin, rules=read, default=default)


def _rule(found: dict[str, Any], number: int) -> Rule:
    name = found.get("name", f"rule {number}")
    if not isinstance(name, str) or not name.strip():
        raise PolicyError(f"rule {number}: name = {name!r}: expected a text")
    at = f"rule {number}" + (f" ({name!r})" if "name" in found else "")
    _only(found, _KEYS, f"{at}: ")
    effects = [key for key in ("allow", "deny") if key in found]
    if len(effects) != 1:
        raise PolicyError(f"{at}: expected exactly one of allow and deny")
    unsigned = found.get("unsigned", False)
    if not isinstance(unsigned, bool):
        raise PolicyError(f"{at}: unsigned = {unsigned!r}: expected true or false")
    if effects == ["deny"] and (unsigned or "also" in found):
        raise PolicyError(f"{at}: unsigned and also belong to allow")
    return Rule(
        name=name,
        effect="allow" if effects == ["allow"] else "deny",
        verbs=_texts(found, effects[0], at),
        argv=_argv(found, at),
        args={
            **_patterns(found, "args", at, lambda text: glob(text)),
            **_patterns(found, "match", at, lambda text: re.compile(text)),
        },
        also=frozenset(_texts(found, "also", at) if "also" in found else ()),
        unsigned=unsigned,
    )


def _only(found: dict[str, Any], known: Sequence[str], at: str) -> None:
    for key in found:
        if key not in known:
            raise PolicyError(f"{at}{key}: no such key; known: {', '.join(known)}")


def _texts(found: dict[str, Any], key: str, at: str) -> tuple[str, ...]:
    value = found[key]
    if not isinstance(value, list) or not value or not all(isinstance(v, str) and v for v in value):
        raise PolicyError(f"{at}: {key} = {value!r}: expected a list of texts")
    return tuple(value)


def _argv(found: dict[str, Any], at: str) -> tuple[str, ...] | None:
    if "argv" not in found:
        return None
    argv = _texts(found, "argv", at)
    if REST in argv[:-1]:
        raise PolicyError(f"{at}: argv: {REST!r} as a word of its own stands only at the end")
    return argv


def _patterns(found: dict[str, Any], key: str, at: str, make: Any) -> dict[str, re.Pattern[str]]:
    table = found.get(key, {})
    if not isinstance(table, dict):
        raise PolicyError(f'{at}: {key}: expected a table of pointers, like {{ "/path" = … }}')
    made: dict[str, re.Pattern[str]] = {}
    for pointer, text in table.items():
        if not pointer.startswith("/") or len(pointer) < 2:
            raise PolicyError(f"{at}: {key}.{pointer}: expected a JSON pointer, like /path")
        if not isinstance(text, str):
            raise PolicyError(f"{at}: {key}.{pointer} = {text!r}: expected a text")
        if key == "match" and pointer in found.get("args", {}):
            raise PolicyError(f"{at}: {pointer}: in both args and match")
        try:
            made[pointer] = make(text)
        except re.error as exc:
            raise PolicyError(f"{at}: {key}.{pointer} = {text!r}: {exc}") from exc
    return made
