"""What a change of layers or schemas would do to the fleet. Pure; runs beside the event loop.

Configurations are let go as soon as their digest is known, but for those that change: a large fleet
has more of them than memory.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from farshore_protocol.config.layers import Effective, Layer, Merger

from farshore_center.config.address import Address
from farshore_center.config.checks import Checker
from farshore_center.config.fleet import Fleet, Place
from farshore_center.config.schema import Violation

Layers = Mapping[Address, Layer]
"""Those that exist now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A configuration to be stored."""

    digest: str
    packed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What one place comes to: a configuration by its digest, or what is wrong with it."""

    place: Place
    digest: str
    violations: tuple[Violation, ...] = ()


@dataclass(slots=True, kw_only=True)
class Plan:
    """``bodies``: of the goals without violations that nobody has stored yet."""

    goals: list[Goal] = field(default_factory=list)
    bodies: dict[str, Body] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that a change would break, and at which nodes."""

    violation: Violation
    nodes: tuple[str, ...]


class Stacks:
    """The effective configurations of a fleet under some layers."""

    def __init__(self, fleet: Fleet, layers: Layers, merger: Merger | None = None) -> None:
        self._fleet = fleet
        self._layers = layers
        self._merger = merger or Merger()

    def of(self, place: Place) -> Effective:
        has = [each for each in self._fleet.addresses(place) if each in self._layers]
        layers = [self._layers[address] for address in has]
        # A node's own layer is shared with nobody.
        if has and has[-1].kind == "node":
            return self._merger.once(layers)
        return self._merger.effective(layers)


def plan(
    places: Iterable[Place], stacks: Stacks, checker: Checker, accepted: Mapping[str, str]
) -> Plan:
    """The goal of each place; ``accepted``: by node, the digest that was found good before."""
    found = Plan()
    for place in places:
        effective = stacks.of(place)
        digest = effective.digest
        violations: tuple[Violation, ...] = ()
        if accepted.get(place.node) != digest:
            violations = checker.violations(effective)
            if not violations and digest not in found.bodies:
                found.bodies[digest] = body(effective)
        found.goals.append(Goal(place=place, digest=digest, violations=violations))
    return found


def body(effective: Effective) -> Body:
    return Body(digest=effective.digest, packed=zlib.compress(effective.canonical, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One node before and after a change."""

    place: Place
    before: Effective
    after: Effective


def pairs(fleet: Fleet, places: Iterable[Place], before: Layers, after: Layers) -> Iterator[Pair]:
    """Those whose configuration differs."""
    # One merger for both: a layer that changes has another revision, so another name.
    merger = Merger()
    stood, stands = Stacks(fleet, before, merger), Stacks(fleet, after, merger)
    for place in places:
        pair = Pair(place=place, before=stood.of(place), after=stands.of(place))
        if pair.before.digest != pair.after.digest:
            yield pair


def faults(
    wrong: Iterable[tuple[Place, tuple[Violation, ...], tuple[Violation, ...]]],
) -> list[Fault]:
    """Violations of each place before and after, as faults: what was wrong before is nobody's."""
    found: dict[Violation, list[str]] = {}
    for place, before, after in wrong:
        for violation in after:
            if violation not in before:
                found.setdefault(violation, []).append(place.node)
    return [Fault(violation=each, nodes=tuple(nodes)) for each, nodes in sorted(found.items())]


def layer_of(address: Address, rev: int, patch: dict[str, Any]) -> Layer:
    return Layer(name=address.origin(rev), patch=patch)
