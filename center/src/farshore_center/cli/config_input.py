"""Files that people write configuration and tasks in: JSON, TOML, or YAML without its traps. Pure.

YAML is read as version 1.2 reads it. What version 1.1 reads otherwise (``no``, ``0644``, ``1:30``) is
refused with its line, and so are aliases, double keys and keys that are no text: what a file says
must be what its author meant.
"""

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

from farshore_center.cli.cells import clean
from farshore_center.cli.errors import BadUsageError

if TYPE_CHECKING:
    import yaml

MAX_FILE_BYTES = 1024 * 1024

_AMBIGUOUS = re.compile(
    r"""y|Y|yes|Yes|YES|n|N|no|No|NO|on|On|ON|off|Off|OFF
    |[-+]?0[0-9_]+|[-+]?[0-9][0-9_]*_[0-9_]*|[-+]?[0-9]+(?::[0-5]?[0-9])+(?:\.[0-9]*)?
    |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)|0[bo][0-7_]+""",
    re.VERBOSE,
)
_PLAIN = {
    "null": (re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    "int": (re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+"), list("-+0123456789")),
    "float": (
        re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"),
        list("-+.0123456789"),
    ),
}


def read_document(text: bytes, name: str) -> Any:
    """JSON or TOML if the name ends so, JSON if it begins like an object, else YAML. Raises BadUsageError."""
    if len(text) > MAX_FILE_BYTES:
        raise BadUsageError(f"{clean(name)}: more than {MAX_FILE_BYTES} bytes")
    try:
        content = text.decode()
    except UnicodeDecodeError as exc:
        raise BadUsageError(f"{clean(name)}: no UTF-8: {exc}") from exc
    if name.endswith(".json") or content.lstrip().startswith("{"):
        return _json(content, name)
    if name.endswith(".toml"):
        return _toml(content, name)
    return _yaml(content, name)


def _toml(content: str, name: str) -> Any:
    import tomllib

    try:
        found = tomllib.loads(content)
        json.dumps(found, allow_nan=False)
    except TypeError as exc:  # TOML has dates and times of its own
        raise BadUsageError(f"{clean(name)}: a date or time: write it in quotes") from exc
    except (ValueError, RecursionError) as exc:
        raise BadUsageError(f"{clean(name)}: {clean(str(exc))}") from exc
    return found


def _json(content: str, name: str) -> Any:
    try:
        return json.loads(content, object_pairs_hook=_no_doubles, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise BadUsageError(f"{clean(name)}: {clean(str(exc))}") from exc


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return found


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _yaml(content: str, name: str) -> Any:
    import yaml

    try:
        return yaml.load(content, Loader=_loader())  # noqa: S506 # a safe loader with fewer types
    except yaml.MarkedYAMLError as exc:
        where = "" if exc.problem_mark is None else f" line {exc.problem_mark.line + 1}:"
        raise BadUsageError(f"{clean(name)}:{where} {clean(str(exc.problem))}") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise BadUsageError(f"{clean(name)}: {clean(str(exc))}") from exc


def _loader() -> "type[yaml.SafeLoader]":
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML 1.2's core types, and nothing that another reader would read otherwise."""

        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 # the library's own way

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                event = self.get_event()  # type: ignore[no-untyped-call] # annotated nowhere
                raise _wrong("an alias is not taken; write the value out", event.start_mark)
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _value in node.value:
                if key.tag == "!ambiguous" or not key.tag.endswith(":str"):
                    raise _wrong(f"the key {key.value!r}: write it in quotes", key.start_mark)
                if key.value in seen:
                    raise _wrong(f"the key {key.value!r} stands there twice", key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    def _wrong(problem: str, mark: Any) -> yaml.MarkedYAMLError:
        return yaml.constructor.ConstructorError(None, None, problem, mark)

    def refuse(_loader: Any, node: Any) -> NoReturn:
        readings = (
            "other readers take it for something else; use quotes, or true, false or a number"
        )
        raise _wrong(f"{node.value!r}: {readings}", node.start_mark)

    _resolve(Loader, "!ambiguous", _AMBIGUOUS, list("yYnNoO-+.0123456789"))
    for kind, (pattern, first) in _PLAIN.items():
        _resolve(Loader, f"tag:yaml.org,2002:{kind}", pattern, first)
    Loader.add_constructor("!ambiguous", refuse)
    return Loader


def _resolve(loader: Any, tag: str, pattern: re.Pattern[str], first: list[str]) -> None:
    # The library asks match(), so the end has to stand in the pattern.
    whole = re.compile(f"(?:{pattern.pattern})\\Z", pattern.flags)
    loader.add_implicit_resolver(tag, whole, first)
