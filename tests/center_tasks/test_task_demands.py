"""What placement is asked for: every part of a specification that it has to know reaches it."""

from dataclasses import fields
from typing import Any

import msgspec
import pytest
from farshore_center.placement import Affinity, Data, Demand, Spread
from farshore_center.tasks.demands import demand_of
from farshore_protocol.tasks import TaskSpec

PARTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"driver": "dask"}, {"driver": "dask"}),
    ({"kind": "batch"}, {"batch": True}),
    ({"priority": 90}, {"priority": 90}),
    ({"where": "core"}, {"where": "core"}),
    ({"run_s": 7}, {"run_hint_s": 7.0}),
    ({"battery_min_percent": 30}, {"min_battery_pct": 30.0}),
    ({"constraint": "label.a=1"}, {"eligible": frozenset({"n1", "n2"})}),
    ({"requests": {"cpu_cores": 1.5}}, {"cpu_milli": 1500}),
    ({"requests": {"memory_bytes": 5}}, {"memory_bytes": 5}),
    ({"requests": {"disk_bytes": 6}}, {"disk_bytes": 6}),
    ({"requests": {"devices": ["cam"]}}, {"devices": frozenset({"cam"})}),
    ({"requests": {"gpu": {"count": 2}}}, {"gpus": 2}),
    (
        {"requests": {"gpu": {"milli": 300, "models": ["T4", "A10"]}}},
        {"gpu_milli": 300, "gpu_models": frozenset({"T4", "A10"})},
    ),
    (
        {"affinities": [{"selector": "label.b=1", "weight": -20}]},
        {"affinities": (Affinity(nodes=frozenset({"n2"}), weight=-20.0),)},
    ),
    (
        {"spread": [{"over": "group", "depth": 2, "weight": 3}, {"over": "label.rack"}]},
        {
            "spread": (
                Spread(by="group", depth=2, weight=3.0),
                Spread(by="label.rack", depth=7, weight=50.0),
            ),
            "peers": ("n2",),
        },
    ),
    (
        {"reads": [{"where": "node:n1", "bytes": 9}, {"where": "group:eu", "bytes": 8}]},
        {"reads": (Data(size_bytes=9, node="n1"), Data(size_bytes=8, group="eu"))},
    ),
    ({"writes": [{"where": "core", "bytes": 7}]}, {"writes": (Data(size_bytes=7, group="core"),)}),
]  # fmt: skip
MEMBERS = {"all": None, "label.a=1": frozenset({"n1", "n2"}), "label.b=1": frozenset({"n2"})}


def demand(**spec: Any) -> Demand:
    whole = {"kind": "service", "driver": "process", **spec}
    return demand_of(msgspec.convert(whole, TaskSpec), members=MEMBERS, peers=["n2"])


def differ(one: Demand, other: Demand) -> dict[str, Any]:
    names = [each.name for each in fields(Demand) if each.compare]
    return {
        name: getattr(one, name) for name in names if getattr(one, name) != getattr(other, name)
    }


@pytest.mark.parametrize(("spec", "asked"), PARTS)
def test_each_part_reaches_placement_and_changes_nothing_else(
    spec: dict[str, Any], asked: dict[str, Any]
) -> None:
    assert differ(demand(**spec), demand()) == asked
