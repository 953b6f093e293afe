"""Tells the center how the node's configuration stands: ``rep/config``, events, the ``status`` verb."""

import logging
from collections.abc import Callable
from typing import Any

from farshore_protocol.config.digest import digest
from farshore_protocol.config.messages import ConfigError, Difference

from farshore_edge.config import reports
from farshore_edge.config.journal import Journal
from farshore_edge.config.model import Failure, Tell, Version
from farshore_edge.errors import RecordError

log = logging.getLogger(__name__)


class Teller:
    """``differences``: between what is and what should be, as last seen."""

    def __init__(
        self, journal: Journal, tell: Tell, differences: Callable[[], tuple[Difference, ...]]
    ) -> None:
        self._journal = journal
        self._tell = tell
        self._differences = differences

    def _failure(self) -> Failure | None:
        target = self._journal.target()
        return None if target is None else self._journal.failure(target)

    def status(self) -> dict[str, Any]:
        kept = self._journal.state
        running = kept.running
        standing = reports.standing(kept, self._failure(), self._differences())
        state = "none" if kept.desired is None else "trying"
        return {
            "state": state if standing is None else standing[1],
            "rev": None if running is None else running.rev,
            "digest": None if running is None else running.digest,
            "desired_rev": None if kept.desired is None else kept.desired.rev,
            "differences": len(self._differences()),
            "override": self._journal.override is not None,
        }

    async def report(self) -> None:
        """How things stand; nothing while a desired configuration is still to be tried."""
        standing = reports.standing(self._journal.state, self._failure(), self._differences())
        if standing is not None:
            await self.report_of(*standing)

    async def report_of(self, about: Version, state: str, error: ConfigError | None) -> None:
        running = self._journal.state.running
        config = None if running is None else self._journal.effective(running)
        body = reports.body(
            about,
            state,
            kept=self._journal.state,
            effective=None if config is None else digest(config),
            error=error,
            differences=self._differences(),
        )
        await self.record("reports", "rep/config", body)

    async def record(self, stream: str, path: str, body: dict[str, Any]) -> None:
        try:
            await self._tell(stream, path, body)
        except RecordError as exc:
            log.error("a record can't travel", extra={"path": path, "error": str(exc)})
