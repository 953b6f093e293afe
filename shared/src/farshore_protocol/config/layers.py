"""Layers become one configuration: RFC 7396 merge patches, one upon the other, and the origin of
each value. Pure.

Nothing here changes a value that it was given: what a merge leaves alone is shared between results,
so a prefix of layers that many nodes have in common is merged once. Whoever holds a result must not
change it either.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from farshore_protocol.config import digest as digests
from farshore_protocol.config.messages import MAX_CONFIG_BYTES
from farshore_protocol.config.pointer import step
from farshore_protocol.errors import MessageError

MAX_DEPTH = 32
"""Objects and arrays in each other, in a patch and so in a configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """``name`` is the origin of what it sets, revision included: ``group:eu@7``."""

    name: str
    patch: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """``of``: the layer of each leaf (a scalar, an array, an empty object) by its JSON pointer.

    An empty object's origin is the layer that made it or took its last member. ``removed``: what a
    layer took away with null, and nobody has set since.
    """

    of: dict[str, str]
    removed: dict[str, str]


class Effective:
    """What ``layers`` come to; digest and origins are made when they are first asked for."""

    def __init__(self, layers: tuple[Layer, ...], config: dict[str, Any]) -> None:
        self.layers = layers
        self.config = config

    @property
    def canonical(self) -> bytes:
        return digests.canonical(self.config)

    @cached_property
    def digest(self) -> str:
        return digests.digest_of_canonical(self.canonical)

    @cached_property
    def origins(self) -> Origins:
        return trace(self.layers)


NOTHING = Effective((), {})


def merge(target: Any, patch: Any) -> Any:
    """``target`` patched by ``patch`` (RFC 7396, section 2); neither is changed."""
    # Types are compared, not asked of isinstance: a fleet's layers come through here in one go.
    if type(patch) is not dict:
        return patch
    merged = target.copy() if type(target) is dict else {}
    for key, value in patch.items():
        if type(value) is dict:
            below = merged.get(key)
            if type(below) is dict:
                merged[key] = merge(below, value)
            else:
                merged[key] = value if _is_plain(value) else merge(None, value)
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


def _is_plain(patch: dict[str, Any]) -> bool:
    """Whether the patch is its own result: it takes nothing away."""
    for value in patch.values():
        if value is None or (type(value) is dict and not _is_plain(value)):
            return False
    return True


def effective(layers: Sequence[Layer]) -> Effective:
    """The layers, the lowest first, as one configuration."""
    config: dict[str, Any] = {}
    for layer in layers:
        config = merge(config, layer.patch)
    return Effective(tuple(layers), config)


class Merger:
    """``effective`` for many nodes whose layers begin alike: every prefix is merged once.

    Layers of one name must have one patch: a Merger lives no longer than one look at the layers.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Effective] = {(): NOTHING}

    def effective(self, layers: Sequence[Layer]) -> Effective:
        names = tuple(layer.name for layer in layers)
        found = self._known.get(names)
        if found is None:
            below = self.effective(layers[:-1])
            found = Effective(tuple(layers), merge(below.config, layers[-1].patch))
            self._known[names] = found
        return found

    def once(self, layers: Sequence[Layer]) -> Effective:
        """The same, keeping all but the last: for a stack whose top nobody shares."""
        names = tuple(layer.name for layer in layers)
        if not layers or names in self._known:
            return self.effective(layers)
        below = self.effective(layers[:-1])
        return Effective(tuple(layers), merge(below.config, layers[-1].patch))


class _Branch(dict[str, "_Branch | str"]):
    """The origins of an object's members; ``made`` is the origin of the object while it is empty."""

    __slots__ = ("made",)

    def __init__(self, made: str) -> None:
        super().__init__()
        self.made = made


def trace(layers: Sequence[Layer]) -> Origins:
    """Where each value comes from."""
    root = _Branch("")
    removed: dict[str, str] = {}
    for layer in layers:
        _trace(root, layer.patch, layer.name, "", removed)
    return Origins(of=dict(_leaves(root, "")) if root else {}, removed=removed)


def _trace(
    branch: _Branch, patch: dict[str, Any], name: str, at: str, removed: dict[str, str]
) -> None:
    for key, value in patch.items():
        path = at + step(key)
        if value is None:
            if branch.pop(key, None) is not None:
                branch.made = name
                _drop_below(removed, path)
                removed[path] = name
            continue
        removed.pop(path, None)
        if isinstance(value, dict):
            below = branch.get(key)
            if not isinstance(below, _Branch):
                below = branch[key] = _Branch(name)
            _trace(below, value, name, path, removed)
        else:
            _drop_below(removed, path)
            branch[key] = name


def _drop_below(removed: dict[str, str], path: str) -> None:
    """What goes with its parent is explained by the parent."""
    for gone in [each for each in removed if each.startswith(path + "/")]:
        del removed[gone]


def _leaves(branch: _Branch, at: str) -> Iterator[tuple[str, str]]:
    if not branch and at:
        yield at, branch.made
    for key, below in branch.items():
        path = at + step(key)
        if isinstance(below, _Branch):
            yield from _leaves(below, path)
        else:
            yield path, below


def check_patch(patch: Any) -> dict[str, Any]:
    """``patch`` itself, if it is an object that can be a layer; else MessageError ``bad_patch``.

    For what a JSON reader gave: it bounds depth and size, and refuses what JSON can't hold (NaN,
    integers beyond 64 bits, halves of surrogate pairs).
    """
    if not isinstance(patch, dict):
        raise MessageError("bad_patch", f"a patch is an object, got {_kind(patch)}")
    _check_value(patch, "", 1)
    try:
        size = len(orjson.dumps(patch))
    except (TypeError, ValueError) as exc:
        raise MessageError("bad_patch", f"the patch can't be written as JSON: {exc}") from exc
    if size > MAX_CONFIG_BYTES:
        raise MessageError(
            "too_large", f"a patch of {size} bytes, expected {MAX_CONFIG_BYTES} or fewer"
        )
    return patch


def _check_value(value: Any, at: str, depth: int) -> None:
    if isinstance(value, float) and value - value != 0:  # NaN and the infinities alone
        raise MessageError("bad_patch", f"{at[:200]}: {value} is no JSON")
    if not isinstance(value, dict | list):
        return
    if depth > MAX_DEPTH:
        raise MessageError("bad_patch", f"{at[:200]}: deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for key, below in value.items():
            if not isinstance(key, str):
                raise MessageError("bad_patch", f"{at[:200]}: the key {key!r} is no string")
            _check_value(below, at + step(key), depth + 1)
    else:
        for number, below in enumerate(value):
            _check_value(below, f"{at}/{number}", depth + 1)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    return names.get(type(value), "an array" if isinstance(value, list) else type(value).__name__)
