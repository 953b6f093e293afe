"""One attempt at a configuration: made, told, and only then forgotten. It can be cut from outside."""

import logging
from collections.abc import Mapping
from typing import Any

from farshore_edge.config.drift import Drift
from farshore_edge.config.journal import Journal
from farshore_edge.config.model import Version
from farshore_edge.config.teller import Teller
from farshore_edge.config.transaction import Cut, Outcome, Transactor

log = logging.getLogger(__name__)


class Attempts:
    def __init__(
        self, journal: Journal, transactor: Transactor, drift: Drift, teller: Teller
    ) -> None:
        self._journal = journal
        self._transactor = transactor
        self._drift = drift
        self._teller = teller
        self._cut = Cut()
        self._trying: Version | None = None
        self._tried = False

    def take_tried(self) -> bool:
        """Whether there was one since the last time of asking."""
        tried, self._tried = self._tried, False
        return tried

    def cut(self) -> None:
        """The one under way ends at its next step, undone where it has begun."""
        self._cut.set()

    def cut_for(self, version: Version) -> None:
        """This one is wanted now: another one under way is cut. Overrides are not."""
        if self._trying is not None and not self._trying.same(version):
            self._cut.set()

    async def make(
        self,
        version: Version,
        config: Mapping[str, Any],
        *,
        remember: bool,
        notice: dict[str, Any] | None = None,
    ) -> Outcome:
        """``remember``: a failure is kept, and told. ``notice``: the event that tells a success."""
        self._cut = Cut()
        self._trying, self._tried = (version if remember else None), True
        try:
            outcome = await self._transactor.attempt(
                version, config, self._cut, remember=remember, notice=notice
            )
        finally:
            self._trying = None
        log.info(
            "a configuration was tried",
            extra={
                "rev": version.rev,
                "state": outcome.state,
                "error": None if outcome.error is None else outcome.error.message,
            },
        )
        if outcome.state == "applied":
            self._drift.settled()
        else:
            self._drift.runs()  # what runs was touched: it is looked at once more
        await self.conclude(outcome, told=remember)
        return outcome

    async def conclude(self, outcome: Outcome, *, told: bool = True) -> None:
        """Tells how the attempt in the journal has ended; only then it is forgotten."""
        attempt = self._journal.state.attempt
        applied = outcome.state == "applied"
        if applied and attempt is not None and attempt.notice is not None:
            await self._teller.record("events", "evt/override", attempt.notice)
        if applied or (told and outcome.state != "superseded"):
            await self._teller.report()
        await self._journal.settle()
