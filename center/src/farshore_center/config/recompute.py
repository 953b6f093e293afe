"""What each node should run, whenever its place, its labels, its overlays or the tree have changed.

Changes are gathered and looked at together. At the start everything is looked at once: what changed
before a crash may not have been.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from farshore_center.config import node_store
from farshore_center.config.checks import Checker
from farshore_center.config.desired import Applied, apply
from farshore_center.config.engine import NodeConfig, send_at_birth
from farshore_center.config.fleet import Groups
from farshore_center.config.plan import Stacks, plan
from farshore_center.config.settings import ConfigSettings
from farshore_center.config.world import Known, Places, read_known, the_fleet
from farshore_center.db.database import Database
from farshore_center.errors import CenterError
from farshore_center.events import Event, EventLog

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What a node's birth said that it runs."""

    rev: int | None
    digest: str | None


class Recompute:
    """``decided``: told which nodes are to be sent something new; ``born``: which of those that
    have said their birth are to be sent what they should run (True), or may still answer."""

    def __init__(
        self,
        database: Database,
        events: EventLog,
        groups: Groups,
        places: Places,
        *,
        lock: asyncio.Lock,
        now_ms: Callable[[], int],
        decided: Callable[[Sequence[str]], None],
        born: Callable[[str, bool], None],
        settings: ConfigSettings,
    ) -> None:
        self._database = database
        self._events = events
        self._groups = groups
        self._places = places
        self._lock = lock
        self._now_ms = now_ms
        self._decided = decided
        self._born = born
        self._settings = settings
        self._nodes: set[str] = set()
        self._all = True
        self._arrivals: dict[str, Arrival] = {}
        self._woken = asyncio.Event()
        self._woken.set()
        self.rounds = 0
        self._failures = 0

    def changed(self, nodes: Iterable[str] | None) -> None:
        """These nodes may have other layers now; None: maybe every node."""
        if nodes is None:
            self._all = True
        else:
            self._nodes.update(nodes)
        self._woken.set()

    def arrived(self, node: str, arrival: Arrival) -> None:
        self._arrivals[node] = arrival
        self.changed([node])

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._woken.wait()
            await asyncio.sleep(self._settings.gather_s)
            self._woken.clear()
            await self.round()

    async def round(self) -> None:
        """Everything that was said to have changed until now."""
        everyone, self._all = self._all, False
        nodes, self._nodes = self._nodes, set()
        arrivals, self._arrivals = self._arrivals, {}
        try:
            # What fails (the database, a saved selector) changes nothing, and is tried again.
            await self._look(None if everyone else nodes, arrivals)
            self.rounds += 1
            self._failures = 0
        except CenterError as exc:
            wait_s = min(
                self._settings.retry_s * 2 ** min(self._failures, 16), self._settings.retry_most_s
            )
            self._failures += 1
            log.error("configurations can't be computed now", reason=str(exc), again_in_s=wait_s)
            self._all = self._all or everyone
            self._nodes |= nodes
            self._arrivals = arrivals | self._arrivals
            await asyncio.sleep(wait_s)
            self._woken.set()

    async def _look(self, nodes: set[str] | None, arrivals: dict[str, Arrival]) -> None:
        async with self._lock:
            applied, events = await self._desire(nodes)
        self._events.announce(events)
        if applied.pending:
            log.info("configurations changed", nodes=len(applied.pending))
        self._decided(applied.pending)
        if not arrivals:
            return
        rows = await self._database.read(lambda conn: node_store.load(conn, list(arrivals)))
        new = set(applied.pending)
        for node, arrival in arrivals.items():
            row = rows.get(node)
            if row is not None and node not in new:
                self._born(node, send_at_birth(row, arrival.rev, arrival.digest))

    async def _desire(self, nodes: set[str] | None) -> tuple[Applied, list[Event]]:
        fleet = await the_fleet(self._database, self._groups, self._places)
        places = [place for place in fleet.places if nodes is None or place.node in nodes]

        def load(conn: Connection) -> tuple[Known, dict[str, NodeConfig]]:
            rows = node_store.load(conn, [place.node for place in places])
            return read_known(conn, fleet, places), rows

        known, rows = await self._database.read(load)
        good = {
            node: row.digest
            for node, row in rows.items()
            if row.digest is not None and row.problem is None
        }
        found = await asyncio.to_thread(
            lambda: plan(places, Stacks(fleet, known.layers), Checker(known.schemas), good)
        )

        def work(conn: Connection) -> tuple[Applied, list[Event]]:
            applied = apply(conn, found, self._now_ms())
            return applied, self._events.append(conn, applied.drafts)

        return await self._database.write(work)
