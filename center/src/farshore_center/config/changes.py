"""What a change of a layer or a schema comes to: goals of the nodes, or what it would break. Pure;
runs beside the event loop."""

from collections.abc import Sequence
from typing import Any

from farshore_protocol.config.layers import Layer

from farshore_center.api.problems import Problem
from farshore_center.config.address import Address
from farshore_center.config.checks import BUILT_IN, Checker
from farshore_center.config.fleet import Fleet, Place
from farshore_center.config.plan import Fault, Goal, Plan, Stacks, body, faults, layer_of, pairs
from farshore_center.config.request import LayerChange, SchemaChange, refused
from farshore_center.config.schema import SchemaError, check_schema


def with_change(
    layers: dict[Address, Layer], change: LayerChange, rev: int
) -> dict[Address, Layer]:
    """The layers as they would be."""
    after = {address: layer for address, layer in layers.items() if address != change.address}
    if change.patch is not None:
        after[change.address] = layer_of(change.address, rev, change.patch)
    return after


def planned(
    fleet: Fleet,
    touched: Sequence[Place],
    layers: dict[Address, Layer],
    change: LayerChange,
    rev: int,
    checker: Checker,
) -> Plan:
    """The goals of the nodes that change; Problem if one of them would break. Pure."""
    found = Plan()
    wrong = []
    for pair in pairs(fleet, touched, layers, with_change(layers, change, rev)):
        violations = checker.violations(pair.after)
        if violations:
            wrong.append((pair.place, checker.violations(pair.before), violations))
        elif pair.after.digest not in found.bodies:
            found.bodies[pair.after.digest] = body(pair.after)
        found.goals.append(Goal(place=pair.place, digest=pair.after.digest, violations=violations))
    if broken := faults(wrong):
        raise refused(broken)
    return found


def schema_faults(
    fleet: Fleet, layers: dict[Address, Layer], schemas: dict[str, Any], change: SchemaChange
) -> list[Fault]:
    """What a schema's change would break. Pure."""
    after = {name: value for name, value in schemas.items() if name != change.document}
    if change.definition is not None:
        after[change.document] = change.definition
    old, new = Checker(schemas), Checker(after)
    stacks = Stacks(fleet, layers)
    wrong = []
    for place in fleet.places:
        effective = stacks.of(place)
        if violations := new.violations(effective):
            wrong.append((place, old.violations(effective), violations))
    return faults(wrong)


def checked_schema(change: SchemaChange) -> None:
    if change.definition is None:
        return
    try:
        check_schema(change.definition)
    except SchemaError as exc:
        raise Problem(
            status=422,
            title="The schema is not taken",
            field=f"definition{exc.path}",
            detail=exc.detail,
            expected="a JSON Schema (2020-12) that needs nothing from elsewhere",
        ) from exc


def no_schema(document: str) -> Problem:
    built_in = " beside the built-in one" if document in BUILT_IN else ""
    return Problem(
        status=404,
        title="No such schema",
        detail=f"{document[:200]!a} has no schema{built_in}",
        field="document",
    )
