"""The world around a job, gathered for one step: places, windows, disruptions, members, gates."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from farshore_center.db.database import Database
from farshore_center.jobs import windows
from farshore_center.jobs.disruptions import disrupted
from farshore_center.jobs.feasible import Member
from farshore_center.jobs.gates import metric_verdict, selector_verdict
from farshore_center.jobs.limits import within
from farshore_center.jobs.record import NodeRecord, Record
from farshore_center.jobs.rules import Gate, Rules, SelectorGate
from farshore_center.jobs.state import Facts, Place, Verdict
from farshore_center.nodes.model import node_values
from farshore_center.nodes.registry import Registry
from farshore_center.selectors import SelectorError
from farshore_center.telemetry.latest import LastValue

TIMEZONE = "timezone"


class Latest(Protocol):
    """The last value of each series of each node."""

    async def latest(
        self, nodes: Sequence[str], series: Sequence[str] | None = None, /
    ) -> dict[str, dict[str, LastValue]]: ...


class Choose(Protocol):
    """The nodes that a selector means now; SelectorError for a bad one."""

    async def members(self, text: str, /) -> frozenset[str]: ...


class Surroundings:
    def __init__(
        self,
        database: Database,
        registry: Registry,
        selection: Choose,
        latest: Latest,
    ) -> None:
        self._database = database
        self._registry = registry
        self._selection = selection
        self._latest = latest

    def known(self, nodes: AbstractSet[str]) -> frozenset[str]:
        return frozenset(node for node in nodes if self._registry.get(node) is not None)

    async def members(self, nodes: AbstractSet[str], rules: Rules) -> dict[str, Member]:
        """For ``feasible.faults``."""
        zones = await self._zones() if rules.windows else {}
        return {
            node: Member(group=self._group(node), timezone=self._zone(node, zones))
            for node in sorted(nodes)
        }

    def group_sizes(self, rules: Rules) -> dict[str, int]:
        """How many nodes are in the subtree of each group that has a budget."""
        entries = self._registry.all() if rules.budgets else []
        return {
            budget.group: sum(within(each.group, budget.group) for each in entries)
            for budget in rules.budgets
        }

    async def gather(self, record: Record, nodes: Sequence[NodeRecord], now_ms: int) -> Facts:
        """``now_ms``: the step's one instant. With a later one of its own, what opens in between would
        count as closed, and nobody would look again when it opens: that is past."""
        rules = record.job.rules
        out = await self._disrupted(record.id, now_ms) if rules.budgets else frozenset()
        # A budget counts whoever is disrupted, whether the job means him or not.
        names = {each.each.node for each in nodes} | out
        members: frozenset[str] | None = self.known({each.each.node for each in nodes})
        if record.job.following:
            members = await self._selection.members(record.spec.selector)
        elif len(members or ()) == len(nodes):
            members = None  # fixed; but a node that was deleted before its turn is left out
        return Facts(
            places=await self._places(names, rules, now_ms),
            disrupted=out,
            group_sizes=self.group_sizes(rules),
            members=members,
            gates=await self._gates(record, nodes, now_ms),
        )

    # Places

    def _group(self, node: str) -> str:
        entry = self._registry.get(node)
        return "" if entry is None else entry.group

    def _zone(self, node: str, facts: Mapping[str, str]) -> str | None:
        entry = self._registry.get(node)
        label = None if entry is None else entry.labels.get(TIMEZONE)
        return label if windows.known_zone(label) is not None else facts.get(node)

    async def _zones(self) -> dict[str, str]:
        def read(conn: Connection) -> dict[str, str]:
            found = select(node_values.c.node, node_values.c.text).where(
                node_values.c.path == f"fact.{TIMEZONE}"
            )
            return {row.node: row.text for row in conn.execute(found)}

        return await self._database.read(read)

    async def _places(self, nodes: AbstractSet[str], rules: Rules, now_ms: int) -> dict[str, Place]:
        if not rules.windows:
            return {node: Place(group=self._group(node)) for node in nodes}
        facts = await self._zones()
        opened: dict[str, tuple[bool, int | None]] = {}
        places: dict[str, Place] = {}
        for node in nodes:
            zone = windows.zone(self._zone(node, facts), rules.timezone)
            if zone.key not in opened:
                opened[zone.key] = _look(rules, zone, now_ms)
            is_open, opens_ms = opened[zone.key]
            places[node] = Place(group=self._group(node), open=is_open, opens_ms=opens_ms)
        return places

    # Disruptions

    async def _disrupted(self, job_id: str, now_ms: int) -> frozenset[str]:
        """Offline, or about to be: by another job, a restart, a configuration."""
        found = self.known(await self._database.read(lambda conn: disrupted(conn, job_id, now_ms)))
        online = self._registry.online()
        return found | {each.name for each in self._registry.all() if each.name not in online}

    # Gates

    async def _gates(
        self, record: Record, nodes: Sequence[NodeRecord], now_ms: int
    ) -> tuple[Verdict, ...]:
        job = record.job
        if not job.rules.gates or job.soaked_ms is None or job.state != "running":
            return ()
        if now_ms < job.soaked_ms:
            return ()
        return tuple([await self._verdict(gate, record, nodes) for gate in job.rules.gates])

    async def _verdict(self, gate: Gate, record: Record, nodes: Sequence[NodeRecord]) -> Verdict:
        touched = {each.each.node: each.each for each in nodes if each.each.attempts}
        if isinstance(gate, SelectorGate):
            try:
                matching = await self._selection.members(gate.selector)
            except SelectorError as exc:
                # An overlay that it names was deleted meanwhile.
                return Verdict(False, f"{gate.selector}: {exc}")
            return selector_verdict(gate, touched.keys(), matching)
        others = {each.each.node for each in nodes} - touched.keys()
        found = await self._latest.latest([*touched, *others], [gate.series])
        values: dict[str, float] = {}
        for node, series in found.items():
            last = series.get(gate.series)
            since_ms = touched[node].started_ms if node in touched else record.started_ms
            if last is not None and last.t_ms >= (since_ms or 0):
                values[node] = last.value
        return metric_verdict(gate, touched.keys(), others, values)


def _look(rules: Rules, zone: ZoneInfo, now_ms: int) -> tuple[bool, int | None]:
    is_open = windows.is_open(rules.windows, zone, now_ms)
    return is_open, None if is_open else windows.opens_ms(rules.windows, zone, now_ms)
