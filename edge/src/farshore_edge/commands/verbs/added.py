"""Verbs of other distributions, found by the entry points of the group ``farshore.verbs``.

One entry point is one verb, and has its name. What is wrong with one is told and costs that verb
alone. Checklist: docs/checklists/new-verb.md.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from farshore_protocol.commands import Verb
from farshore_protocol.names import is_name

from farshore_edge.commands.verbs.model import Handler
from farshore_edge.config.folders import Folders

log = logging.getLogger(__name__)

GROUP = "farshore.verbs"
ERROR_CHARS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class VerbTools:
    """What a verb of another distribution is made with. ``data``: a folder for what it keeps, which it
    makes when it needs it; ``readable``, ``writable``: where commands may read and write files."""

    node: str
    data: Path
    readable: Folders
    writable: Folders


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedVerb:
    """A verb with its handler, as an entry point gives it."""

    verb: Verb
    handler: Handler


VerbFactory = Callable[[VerbTools], AddedVerb]
"""What an entry point names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedVerbs:
    """``refused``: name of an entry point → why its verb is not there."""

    verbs: Mapping[str, AddedVerb] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


Finder = Callable[[], Iterable[Any]]
"""Gives entry points, as ``importlib.metadata`` has them."""


def installed() -> Iterable[Any]:
    from importlib.metadata import entry_points

    return entry_points(group=GROUP)


def added_verbs(
    tools: VerbTools, *, taken: Collection[str], find: Finder = installed
) -> AddedVerbs:
    """``taken``: names that others must not have."""
    by_name: dict[str, list[Any]] = defaultdict(list)
    try:
        for point in find():
            by_name[point.name].append(point)
    except Exception as exc:  # what is installed here is not ours
        log.exception("the verbs of other distributions can't be looked for")
        return AddedVerbs(refused={GROUP: _short(exc)})
    verbs: dict[str, AddedVerb] = {}
    refused: dict[str, str] = {}
    for name, points in sorted(by_name.items()):
        try:
            verbs[name] = _load(name, points, tools, taken)
        except Exception as exc:  # a foreign package may fail in any way
            refused[name] = _short(exc)
            log.error("a verb is not added", extra={"verb": name, "error": refused[name]})
    return AddedVerbs(verbs=verbs, refused=refused)


def _load(name: str, points: list[Any], tools: VerbTools, taken: Collection[str]) -> AddedVerb:
    if not is_name(name):
        raise ValueError(f"{name!r} is no name of a verb")
    if name in taken:
        raise ValueError("the agent has a verb of that name itself")
    values = sorted({point.value for point in points})
    if len(values) > 1:
        raise ValueError(f"more than one distribution gives it: {', '.join(values)}")
    added = points[0].load()(tools)
    if not isinstance(added, AddedVerb) or not isinstance(added.verb, Verb):
        raise TypeError(f"{values[0]} gives {type(added).__name__}, expected AddedVerb")
    if added.verb.name != name:
        raise ValueError(f"its verb calls itself {added.verb.name!r}")
    if not callable(added.handler):
        raise TypeError("its handler can't be called")
    msgspec.json.schema(added.verb.args)  # raises for what no arguments could be read into
    return added


def _short(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"[:ERROR_CHARS]
