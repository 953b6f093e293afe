"""Who has which layers: places of nodes in the tree, and members of overlays. Pure.

The tree, labels and selectors are the groups' room; what is needed of it stands here as a Protocol.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from farshore_protocol.names import group_ancestors

from farshore_center.config.address import DEFAULTS, Address


class OverlayLike(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def selector(self) -> str: ...
    @property
    def priority(self) -> int: ...


class Paths(Protocol):
    def __contains__(self, path: str, /) -> bool: ...


class Groups(Protocol):
    """What configuration needs of the groups' room."""

    def overlays(self) -> tuple[OverlayLike, ...]:
        """By ascending priority."""

    async def members(self, selector: str, /) -> frozenset[str]: ...

    @property
    def tree(self) -> "Paths":
        """Every group, by its path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A node where it stands. ``given``: a person put it there or labelled it, so that the node
    has to be told even if nothing is configured."""

    node: str
    group: str
    labels: Mapping[str, str]
    given: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """``overlays``: names and members, by ascending priority."""

    places: tuple[Place, ...]
    overlays: tuple[tuple[str, frozenset[str]], ...] = ()

    def addresses(self, place: Place) -> list[Address]:
        """The layers that a node may have, the lowest first."""
        found = [DEFAULTS]
        found += [Address("group", path) for path in group_ancestors(place.group)]
        found += [Address("overlay", name) for name, has in self.overlays if place.node in has]
        found.append(Address("node", place.node))
        return found

    def touched(self, address: Address) -> tuple[Place, ...]:
        """The nodes that have this layer."""
        if address.kind == "defaults":
            return self.places
        if address.kind == "node":
            return tuple(place for place in self.places if place.node == address.name)
        if address.kind == "group":
            below = address.name + "/"
            return tuple(
                place
                for place in self.places
                if place.group == address.name or place.group.startswith(below)
            )
        members = dict(self.overlays).get(address.name, frozenset())
        return tuple(place for place in self.places if place.node in members)
