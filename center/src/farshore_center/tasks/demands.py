"""What placement is asked for on behalf of a task. Pure."""

import math
from collections.abc import Collection, Mapping

from farshore_protocol.tasks import TaskSpec

from farshore_center.placement import Affinity, Data, Demand, RunTime, Spread, Traffic


def demand_of(
    spec: TaskSpec,
    *,
    members: Mapping[str, frozenset[str] | None],
    peers: Collection[str] = (),
    avoid: Collection[str] = (),
    everywhere: Collection[str] = (),
    deadline_s: float | None = None,
    run_times: Mapping[str, RunTime] | None = None,
    over_document: frozenset[str] = frozenset(),
    traffic: Traffic | None = None,
) -> Demand:
    """``members``: the nodes of each selector that it names, None: all. ``avoid``: left out, as long as any
    other of ``everywhere`` (all nodes) is eligible."""
    requests = spec.requests
    eligible = members.get(spec.constraint)
    if avoid:
        others = (frozenset(everywhere) if eligible is None else eligible) - frozenset(avoid)
        eligible = others or eligible
    return Demand(
        cpu_milli=milli_of(requests.cpu_cores),
        memory_bytes=requests.memory_bytes,
        disk_bytes=requests.disk_bytes,
        gpus=requests.gpu.count,
        gpu_milli=requests.gpu.milli,
        gpu_models=frozenset(requests.gpu.models),
        devices=frozenset(requests.devices),
        driver=spec.driver,
        where=None if spec.where == "auto" else spec.where,
        priority=spec.priority,
        batch=spec.kind == "batch",
        min_battery_pct=spec.battery_min_percent or 0.0,
        eligible=eligible,
        affinities=tuple(
            Affinity(nodes=members.get(each.selector) or frozenset(), weight=float(each.weight))
            for each in spec.affinities
        ),
        spread=tuple(
            Spread(by=each.over, depth=each.depth, weight=float(each.weight))
            for each in spec.spread
        ),
        peers=tuple(peers) if spec.spread else (),
        reads=tuple(_data(each.where, each.bytes) for each in spec.reads),
        writes=tuple(_data(each.where, each.bytes) for each in spec.writes),
        over_document=over_document,
        deadline_s=deadline_s,
        run_times=run_times or {},
        run_hint_s=spec.run_s,
        traffic=traffic or {},
    )


def milli_of(cores: float) -> int:
    """In thousandths, never less than asked; 2.007 are 2007 and not one more for the sake of a float."""
    return math.ceil(round(cores * 1000, 6))


def _data(where: str, size_bytes: int) -> Data:
    kind, _, name = where.partition(":")
    if kind == "node":
        return Data(size_bytes=size_bytes, node=name)
    return Data(size_bytes=size_bytes, group=name if kind == "group" else "core")


def selectors_of(spec: TaskSpec) -> list[str]:
    return [spec.constraint, *(each.selector for each in spec.affinities)]
