"""Whether what is is still what should be: looks, tells each difference, repairs or only reports.

It looks at the document's interval and, by a stat of each file every ``WATCH_S``, soon after a file
was changed. Stat instead of inotify: it needs no descriptors and no C interface, sees every file
system (network, overlay), folders that come and go, and renames; a few hundred files cost less than
a millisecond.
"""

import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from farshore_protocol.config.documents import DriftDocument
from farshore_protocol.config.messages import Difference

from farshore_edge.config.model import Change, Tell, Version, shown
from farshore_edge.config.patience import Patience
from farshore_edge.config.registry import Documents, Registry
from farshore_edge.config.transaction import Transactor
from farshore_edge.errors import ConfigurationError

log = logging.getLogger(__name__)

WATCH_S = 2.0
DIFFERENCES = 50
"""In one report; how many more there are is counted."""
TELLINGS = 20
"""In a row, of what comes and goes; then it is told less and less often."""
TELLING = "telling"


class Drift:
    """Watches over one configuration at a time; ``differences``: as of the last look."""

    def __init__(
        self,
        transactor: Transactor,
        registry: Registry,
        *,
        tell: Tell,
        report: Callable[[], Awaitable[None]],
        monotonic_s: Callable[[], float],
    ) -> None:
        self._transactor = transactor
        self._registry = registry
        self._tell = tell
        self._report = report
        self._monotonic_s = monotonic_s
        self._patience = Patience()
        self._held: frozenset[str] = frozenset()
        self._telling = Patience(often=TELLINGS)
        self._told: tuple[str, ...] = ()
        self._due_s = 0.0
        self._rules = DriftDocument()
        self._paths: tuple[str, ...] = ()
        self._seen: list[object] = []
        self.differences: tuple[Difference, ...] = ()

    # When

    def runs(self) -> None:
        """A configuration begins to run: it is looked at at once."""
        self._patience.forget()
        self._held, self._paths, self._seen = frozenset(), (), []
        self._due_s = self._monotonic_s()

    def settled(self) -> None:
        """A configuration was applied just now, and so is as it should be."""
        self.runs()
        self.differences, self._told = (), ()

    def wait_s(self) -> float:
        """Seconds until it wants to be asked again."""
        rest_s = max(0.0, self._due_s - self._monotonic_s())
        return min(rest_s, WATCH_S) if self._paths else rest_s

    def due(self) -> bool:
        return self._monotonic_s() >= self._due_s or (
            bool(self._paths) and _signs(self._paths) != self._seen
        )

    # What

    async def look(self, version: Version, config: Mapping[str, Any]) -> None:
        try:
            documents = self._registry.read(config)
        except ConfigurationError as exc:
            await self._found((_unreadable(exc),))
            self._due_s = self._monotonic_s() + self._rules.interval_s
            return
        self._rules = documents.drift
        watched = documents.paths() if documents.drift.watch_files else ()
        self._paths = tuple(watched)
        self._due_s = self._monotonic_s() + documents.drift.interval_s
        await self._compare(documents, version)

    async def _compare(self, documents: Documents, version: Version) -> None:
        changes = await self._plan(documents, version)
        if changes is None:
            return
        news = await self._found(_differences(changes))
        if not self.differences:
            if news:
                await self._say("ended", version, ())
            return
        if documents.drift.on_difference == "report":
            if news:
                await self._say("reported", version, self.differences)
            return
        now_s = self._monotonic_s()
        due = [c for c in changes if not c.late and self._patience.due(c.path, now_s)]
        await self._hold([c for c in changes if not c.late and c not in due], version)
        if due:
            late = [change for change in changes if change.late]
            await self._repair((*due, *late), documents, version)

    async def _plan(self, documents: Documents, version: Version) -> tuple[Change, ...] | None:
        self._seen = _signs(self._paths)  # before: what changes while it looks is news again
        try:
            return await self._transactor.plan(documents, version)
        except ConfigurationError as exc:
            await self._found((_unreadable(exc),))
        except OSError as exc:
            problem = ConfigurationError("disk", str(exc))
            await self._found((_unreadable(problem),))
        return None

    async def _found(self, differences: Sequence[Difference]) -> bool:
        """Takes note; whether there is news, which is reported: other places than were told, and not
        for the twentieth time in a row."""
        self.differences = tuple(differences)
        paths = tuple(each.path for each in differences)
        if paths == self._told:
            return False
        now_s = self._monotonic_s()
        wait_s = self._telling.wait_s(TELLING, now_s)
        if wait_s > 0:
            self._due_s = min(self._due_s, now_s + wait_s)
            return False
        self._telling.repaired(TELLING, now_s)
        self._told = paths
        await self._report()
        return True

    async def _hold(self, changes: Sequence[Change], version: Version) -> None:
        """A fight: said once, and looked at again when its wait is over."""
        paths = frozenset(change.path for change in changes)
        news, self._held = paths - self._held, paths
        if not changes:
            return
        now_s = self._monotonic_s()
        wait_s = min(self._patience.wait_s(path, now_s) for path in paths)
        self._due_s = min(self._due_s, now_s + wait_s)
        if news:
            log.warning("something keeps undoing what is repaired", extra={"paths": sorted(news)})
            held = [c.difference for c in changes if c.path in news]
            await self._say("held", version, held, wait_s=round(wait_s, 1))

    async def _repair(
        self, changes: tuple[Change, ...], documents: Documents, version: Version
    ) -> None:
        broken = await self._transactor.repair(version, changes)
        now_s = self._monotonic_s()
        mended = []
        for change in changes:
            self._patience.repaired(change.path, now_s)
            if change.path not in broken and not change.late:
                mended.append(change.difference)
        if mended:
            log.info("repaired", extra={"paths": [each.path for each in mended]})
            await self._say("repaired", version, mended)
        if broken:
            failed = [c.difference for c in changes if c.path in broken]
            await self._say("failed", version, failed, problems=broken)
        left = await self._plan(documents, version)
        if left is not None:
            await self._found(_differences(left))
        if any(self._patience.due(each.path, now_s) for each in self.differences):
            self._due_s = now_s

    async def _say(
        self, action: str, version: Version, differences: Sequence[Difference], **more: Any
    ) -> None:
        told = [
            {"path": each.path, "expected": each.expected, "found": each.found}
            for each in differences[:DIFFERENCES]
        ]
        data = {"action": action, "rev": version.rev, "digest": version.digest}
        await self._tell("events", "evt/drift", {"data": {**data, "differences": told, **more}})


def _differences(changes: Iterable[Change]) -> tuple[Difference, ...]:
    found = [change.difference for change in changes if not change.late]
    if len(found) > DIFFERENCES:
        more = Difference(path="", expected="", found=f"and {len(found) - DIFFERENCES} more")
        return (*found[:DIFFERENCES], more)
    return tuple(found)


def _unreadable(problem: ConfigurationError) -> Difference:
    return Difference(path=problem.path, expected="as configured", found=shown(problem.message))


def _signs(paths: Sequence[str]) -> list[object]:
    """What changes when a file does."""
    signs: list[object] = []
    for path in paths:
        try:
            status = os.lstat(path)
        except OSError as exc:
            signs.append(exc.errno)
        else:
            signs.append(
                (
                    status.st_ino,
                    status.st_mtime_ns,
                    status.st_ctime_ns,
                    status.st_size,
                    status.st_mode,
                    status.st_uid,
                    status.st_gid,
                )
            )
    return signs
