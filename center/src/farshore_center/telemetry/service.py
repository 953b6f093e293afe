"""The telemetry history as the rest of the center sees it: questions, and the loop that tidies.

The loop compacts inboxes that are full or old, merges small chunks and deletes what is past
retention, a bounded amount per round. Slow work (decode, encode) runs in reading threads; the
writer gets finished rows.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import numpy as np
import structlog
from sqlalchemy import Connection

from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from farshore_center.telemetry import history, store
from farshore_center.telemetry.errors import ConflictError, TooManyPointsError
from farshore_center.telemetry.history import History, matcher
from farshore_center.telemetry.latest import LastValue, LatestValues
from farshore_center.telemetry.resample import Aggregate, natural_aggregate, resample, resample_mask
from farshore_center.telemetry.samples import Batch, Values

log = structlog.get_logger(__name__)

# After a restart all nodes are unknown at once; other readers are to come in between.
_NODES_PER_READ = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySettings:
    """When the history is tidied and how much one question may ask for."""

    compact_batches: int = 60
    compact_age_s: int = 600
    retention_s: int = 30 * 86400
    interval_s: float = 5.0
    nodes_per_round: int = 50
    expire_per_round: int = 200
    max_points: int = 100_000
    max_scanned: int = history.MAX_VALUES
    compaction: store.CompactionSettings = field(default_factory=store.CompactionSettings)

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if isinstance(value, int | float) and value <= 0:
                raise ValueError(f"{setting.name}: {value}, expected more than 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round of tidying did."""

    compacted: int = 0
    merged: int = 0
    expired: int = 0


class TelemetryHistory:
    """Queries over a node's samples, and the loop that keeps them small."""

    def __init__(
        self,
        database: Database,
        now_ms: Callable[[], int],
        settings: HistorySettings | None = None,
    ) -> None:
        self._database = database
        self._now_ms = now_ms
        self._settings = settings or HistorySettings()
        self._latest = LatestValues()

    @property
    def unchecked_ms(self) -> int:
        """How old a date may be that nobody could check: half of retention is left to its record."""
        return self._settings.retention_s * 500

    async def run(self) -> None:
        while True:
            try:
                await self.tidy()
            except DatabaseError as exc:
                log.error("telemetry history could not be tidied", error=str(exc))
            await asyncio.sleep(self._settings.interval_s)

    async def tidy(self) -> Round:
        """One round; `run` does it forever."""
        settings = self._settings
        due = partial(
            store.due_nodes,
            min_batches=settings.compact_batches,
            received_before_ms=self._now_ms() - settings.compact_age_s * 1000,
            limit=settings.nodes_per_round,
        )
        compacted = merged = 0
        for node in await self._database.read(due):
            compacted += await self._rewrite(node, store.plan_compaction)
            merged += await self._rewrite(node, store.plan_merge)
        return Round(compacted=compacted, merged=merged, expired=await self._expire())

    def note(self, node: str, batch: Batch) -> None:
        """Call it for every accepted batch, after its commit."""
        self._latest.note(node, batch)

    def forget(self, node: str) -> None:
        """Call it when a node was deleted; its rows go by `store.delete_node`."""
        self._latest.forget(node)

    async def query(
        self,
        node: str,
        series: Sequence[str] | None,
        from_ms: int,
        to_ms: int,
        step_ms: int | None = None,
        how: Aggregate | None = None,
    ) -> dict[str, dict[str, list[Any]]]:
        """`{name: {"t": [ms], "v": [value or None]}}` for from_ms <= t < to_ms.

        A series with times that nobody could check has `"approximate": [bool]` as well.
        `series` are globs; without a step, samples are returned as they are. `how` defaults to
        the last value for counters and the mean for the rest.
        """
        read = partial(self._read, node, series, from_ms, to_ms, step_ms, how)
        damaged, answer = await self._database.read(read)
        if damaged:
            log.error("telemetry rows are damaged and missing", node=node, rows=damaged)
        return answer

    async def latest(
        self, nodes: Iterable[str], series: Sequence[str] | None = None
    ) -> dict[str, dict[str, LastValue]]:
        """The last value of each matching series of each node."""
        wanted, asked = matcher(series), list(nodes)
        unknown = [node for node in asked if not self._latest.is_filled(node)]
        for start in range(0, len(unknown), _NODES_PER_READ):
            some = unknown[start : start + _NODES_PER_READ]
            stored = await self._database.read(partial(history.newest, nodes=some))
            for node, values in stored.items():
                self._latest.fill(node, values)
        return {
            node: {name: last for name, last in self._latest.get(node).items() if wanted(name)}
            for node in asked
        }

    async def series_names(self, node: str) -> list[str]:
        """The names that occur in a node's recent samples."""
        return await self._database.read(partial(history.series_names, node=node))

    async def _rewrite(
        self,
        node: str,
        plan: Callable[[Connection, str, store.CompactionSettings], store.Rewrite | None],
    ) -> int:
        """Plans on a snapshot and applies; returns how many rows were replaced."""
        settings = self._settings.compaction
        rewrite = await self._database.read(lambda connection: plan(connection, node, settings))
        if rewrite is None:
            return 0
        for row_id in rewrite.damaged:
            log.error("telemetry batch is damaged and is dropped", node=node, batch=row_id)
        try:
            await self._database.write(lambda connection: store.apply(connection, rewrite))
        except ConflictError as exc:
            # The node was deleted, or someone else compacted it: the next round looks again.
            log.info("telemetry compaction was overtaken", node=node, reason=str(exc))
            return 0
        return len(rewrite.ids)

    async def _expire(self) -> int:
        before_ms = self._now_ms() - self._settings.retention_s * 1000
        # An empty write would still cost a sync of the disk.
        if not await self._database.read(partial(store.count_expired, before_ms=before_ms)):
            return 0
        limit = self._settings.expire_per_round
        return await self._database.write(partial(store.expire, before_ms=before_ms, limit=limit))

    def _read(
        self,
        node: str,
        series: Sequence[str] | None,
        from_ms: int,
        to_ms: int,
        step_ms: int | None,
        how: Aggregate | None,
        connection: Connection,
    ) -> tuple[int, dict[str, dict[str, list[Any]]]]:
        found = history.query(
            connection, node, series, from_ms, to_ms, max_values=self._settings.max_scanned
        )
        return found.damaged, _present(found, step_ms, how, self._settings.max_points)


def _present(
    found: History, step_ms: int | None, how: Aggregate | None, max_points: int
) -> dict[str, dict[str, list[Any]]]:
    thinned = {}
    for name, series in found.series.items():
        t_ms, values, approximate = series.t_ms, series.values, series.approximate
        if step_ms is not None:
            t_ms, values = resample(t_ms, values, step_ms, how or natural_aggregate(name))
            approximate = resample_mask(series.t_ms, approximate, step_ms)
        thinned[name] = (t_ms, values, approximate)
    points = sum(len(t_ms) for t_ms, _values, _approximate in thinned.values())
    if points > max_points:
        raise TooManyPointsError(points, max_points)
    return {
        name: {
            "t": t_ms.tolist(),
            "v": _nullable(values),
            **({"approximate": approximate.tolist()} if bool(approximate.any()) else {}),
        }
        for name, (t_ms, values, approximate) in thinned.items()
    }


def _nullable(values: Values) -> list[float | None]:
    real = np.isfinite(values).tolist()
    return [value if ok else None for value, ok in zip(values.tolist(), real, strict=True)]
