"""The pool for people: what is booked, with what telemetry tells of its use."""

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from farshore_center.placement import NodeCapacity, Placement
from farshore_center.tasks import silos
from farshore_center.tasks.books import Charges
from farshore_center.tasks.pool import NodeBooks, mix_of, view
from farshore_center.telemetry.latest import LastValue
from farshore_center.telemetry.service import TelemetryHistory

SERIES = ("cpu.percent", "mem.used_bytes", "gpu.percent{*}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The books at one moment. ``work``: every instance that is wanted, placed or not; ``closed`` is said by
    ``NodeCapacity.refuses``."""

    nodes: Sequence[NodeCapacity]
    held: Mapping[str, tuple[Placement, ...]]
    work: Sequence[silos.Work]
    online: Container[str]
    drained: Container[str] = frozenset()


class PoolReader:
    def __init__(
        self, snapshot: Callable[[], Awaitable[Snapshot]], history: TelemetryHistory
    ) -> None:
        self._snapshot = snapshot
        self._history = history

    async def view(self, nodes: bool = False) -> dict[str, Any]:
        """``{"total": SHARE, "groups": {path: SHARE}}``, with ``nodes`` also ``"nodes": {name: SHARE}``.
        SHARE: ``{"nodes","online","drained","capacity","reserved","free","closed","used","told",
        "stranded"}``; each of the amounts ``{"cpu_milli","memory_bytes","disk_bytes","gpu_milli"}``,
        None where it can't be told. ``"doubts": {name: [text]}``: what nodes said of themselves and was
        not believed, where there is any."""
        now = await self._snapshot()
        names = [node.node for node in now.nodes if node.node in now.online]
        latest = await self._history.latest(names, SERIES)
        books = [
            NodeBooks(
                capacity=node,
                held=tuple(now.held.get(node.node, ())),
                online=node.node in now.online,
                drained=node.node in now.drained,
                used=used_of(node, latest.get(node.node, {})),
            )
            for node in now.nodes
        ]
        mix = mix_of(each.demand for each in now.work)
        found = await asyncio.to_thread(view, books, mix, nodes=nodes)
        doubts = {node.node: list(node.doubts) for node in now.nodes if node.doubts}
        return found | ({"doubts": doubts} if doubts else {})

    async def silos(self, depth: int = 1) -> dict[str, Any]:
        """What ``silos.report`` says."""
        now = await self._snapshot()
        return await asyncio.to_thread(silos.report, now.nodes, now.work, depth)


def charges_of(history: TelemetryHistory) -> Charges:
    """The charge of nodes that run on a battery, as they told it last."""

    async def charges(nodes: Iterable[str]) -> Mapping[str, float]:
        latest = await history.latest(nodes, ("battery.percent", "battery.plugged"))
        return {
            node: min(max(values["battery.percent"].value, 0.0), 100.0)
            for node, values in latest.items()
            if "battery.percent" in values
            and not ("battery.plugged" in values and values["battery.plugged"].value)
        }

    return charges


def used_of(node: NodeCapacity, latest: Mapping[str, LastValue]) -> dict[str, int] | None:
    """What the machine uses, by its last values: tasks and all else. None: it has told nothing."""
    found: dict[str, int] = {}
    if "cpu.percent" in latest:
        found["cpu_milli"] = round(latest["cpu.percent"].value / 100 * node.cpu_milli)
    if "mem.used_bytes" in latest:
        found["memory_bytes"] = round(latest["mem.used_bytes"].value)
    busy = [last.value for name, last in latest.items() if name.startswith("gpu.percent{")]
    if busy:
        found["gpu_milli"] = round(sum(busy) * 10)
    return found or None
