"""The room of jobs: its parts put together, and what the rest of the center uses of it."""

from collections.abc import Callable
from dataclasses import asdict

from farshore_protocol.ids import Ids

from farshore_center.config.rollout import Rollouts
from farshore_center.db.database import Database
from farshore_center.events import EventLog
from farshore_center.groups.service import GroupService
from farshore_center.jobs.ledger import Ledger
from farshore_center.jobs.making import Maker
from farshore_center.jobs.occurrences import Occurrences
from farshore_center.jobs.overlays import JobOverlays
from farshore_center.jobs.reading import JobReader
from farshore_center.jobs.runner import JobCounts, Runner
from farshore_center.jobs.service import JobService
from farshore_center.jobs.settings import JobSettings
from farshore_center.jobs.surroundings import Latest, Surroundings
from farshore_center.jobs.ways import Commands, Ways
from farshore_center.nodes.announced import AnnouncedVerbs
from farshore_center.nodes.registry import Registry


class JobRoom:
    """``overlays`` stands apart: the configuration's room is made with it."""

    def __init__(
        self,
        database: Database,
        events: EventLog,
        registry: Registry,
        groups: GroupService,
        commands: Commands,
        rollouts: Rollouts,
        latest: Latest,
        overlays: JobOverlays,
        *,
        now_ms: Callable[[], int],
        ids: Ids,
        held: Callable[[], bool],
        settings: JobSettings | None = None,
    ) -> None:
        settings = settings or JobSettings()
        counts = JobCounts()
        surroundings = Surroundings(database, registry, groups.selection, latest)
        maker = Maker(
            events,
            groups.selection,
            surroundings,
            rollouts,
            AnnouncedVerbs(registry),
            now_ms=now_ms,
            groups=lambda path: path in groups.tree,
        )
        ways = Ways(commands, rollouts)
        ledger = Ledger(events, ways)
        self._overlays = overlays
        self.runner = Runner(
            database,
            events,
            ways,
            ledger,
            surroundings,
            Occurrences(database, events, maker, overlays, ids=ids, settings=settings),
            now_ms=now_ms,
            held=held,
            settings=settings,
            counts=counts,
        )
        self.reader = JobReader(database, self.runner.outlook)
        self.service = JobService(
            database,
            events,
            maker,
            ledger,
            self.runner,
            self.reader,
            overlays,
            now_ms=now_ms,
            ids=ids,
        )

    async def start(self) -> None:
        """Before the configuration's room is asked for anything."""
        await self._overlays.start()

    async def run(self) -> None:
        """Until it is cancelled."""
        await self.runner.run()

    def stats(self) -> dict[str, int]:
        """Counts since the start; ``live`` is how many jobs are not at rest now."""
        return {**asdict(self.runner.counts), "live": self.runner.live}
