"""The local override: set, cleared, and ended when its time is over; each a transaction of its own,
each told by an event.
"""

from collections.abc import Callable
from dataclasses import replace

from farshore_protocol.config.messages import ConfigError, Override

from farshore_edge.config import reports
from farshore_edge.config.attempts import Attempts
from farshore_edge.config.journal import Journal
from farshore_edge.config.model import Version
from farshore_edge.config.parts import Place
from farshore_edge.config.store import EMPTY_DIGEST
from farshore_edge.config.teller import Teller
from farshore_edge.config.transaction import Outcome

EXPIRY_RETRY_S = 60.0


class Overriding:
    """``first_place``: the node's, until the center has told another. ``now_ms``: by the center's
    clock where it is known."""

    def __init__(
        self,
        journal: Journal,
        attempts: Attempts,
        teller: Teller,
        *,
        first_place: Place,
        now_ms: Callable[[], int],
    ) -> None:
        self._journal = journal
        self._attempts = attempts
        self._teller = teller
        self._first_place = first_place
        self._now_ms = now_ms
        self._expiry_due_ms = 0

    def wait_s(self) -> float | None:
        """Until it has to be ended; None without an end."""
        override = self._journal.override
        if override is None or override.expires_ms is None:
            return None
        due_ms = max(override.expires_ms, self._expiry_due_ms)
        return max(0.0, (due_ms - self._now_ms()) / 1000)

    async def bring(self, override: Override | None, *, expired: bool = False) -> Outcome:
        """Sets or (None) ends it, above what runs. ``expired``: because its time is over."""
        base = self._journal.state.running or Version(
            rev=0,
            digest=EMPTY_DIGEST,
            group=self._first_place.group,
            labels=dict(self._first_place.labels),
        )
        before, version = base.override, replace(base, override=override)
        if override is None and before is None:
            return Outcome(state="applied")
        config = self._journal.effective(version)
        if config is None:
            error = ConfigError(stage="received", code="lost", message="what runs can't be read")
            return Outcome(state="failed", error=error)
        notice = None
        if override is not None:
            notice = reports.override_event("set", override)
        elif before is not None:
            notice = reports.override_event("expired" if expired else "cleared", before)
        outcome = await self._attempts.make(version, config, remember=False, notice=notice)
        if expired and before is not None and outcome.error is not None:
            body = reports.override_event("expiry_failed", before, error=outcome.error.message)
            await self._teller.record("events", "evt/override", body)
        return outcome

    async def expire(self) -> None:
        """Ends it when its time is over; what is below it may not do any more: tried again later."""
        override, now_ms = self._journal.override, self._now_ms()
        if override is None or override.expires_ms is None:
            return
        if now_ms < max(override.expires_ms, self._expiry_due_ms):
            return
        self._expiry_due_ms = now_ms + int(EXPIRY_RETRY_S * 1000)
        await self.bring(None, expired=True)
