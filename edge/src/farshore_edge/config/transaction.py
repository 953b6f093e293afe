"""One configuration as one transaction: plan → stage → apply → check → keep, or back as it was.

Each step is in the journal before it is taken. After a crash ``recover`` brings back what was before
and leaves the attempt to be made anew; it never guesses how far a step had come.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from farshore_protocol.config.messages import ConfigError
from farshore_protocol.config.pointer import pointer

from farshore_edge.config.health import Health
from farshore_edge.config.journal import Journal
from farshore_edge.config.model import Attempt, Change, ConfigHandler, Failure, Site, Version
from farshore_edge.config.registry import Documents, Registry
from farshore_edge.errors import ConfigurationError

log = logging.getLogger(__name__)

DEATHS = 3
"""So often the agent may die with one version before it is held against it."""
ERROR_CHARS = 2_000
ROLLBACK_FAILED = "rollback_failed"

Problem = ConfigurationError | OSError


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``state``: ``applied``, ``failed``, ``rolled_back`` or ``superseded``."""

    state: str
    error: ConfigError | None = None


class Cut:
    """Set from outside: a newer configuration waits, or the agent stops."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __call__(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()


class Transactor:
    def __init__(
        self,
        journal: Journal,
        registry: Registry,
        health: Health,
        site: Callable[[Version], Site],
    ) -> None:
        self._journal = journal
        self._registry = registry
        self._health = health
        self._site = site

    # Looking

    async def plan(self, documents: Documents, version: Version) -> tuple[Change, ...]:
        """All that has to change, in order. Raises ConfigurationError or OSError."""
        site = self._site(version)
        changes: list[Change] = []
        for handler, document in documents.parts:
            names = frozenset(change.name for change in changes)
            changes += await handler.plan(document, replace(site, changed=names))
        return (*(c for c in changes if not c.late), *(c for c in changes if c.late))

    # The transaction

    async def attempt(
        self,
        version: Version,
        config: Mapping[str, Any],
        cut: Cut,
        *,
        remember: bool = True,
        notice: dict[str, Any] | None = None,
    ) -> Outcome:
        """``remember``: a failure is kept, so that the version is not tried again by itself.

        The attempt stays in the journal until its end was told; the caller settles it then. Raises
        OSError when the journal can't be written; ``recover`` has to follow.
        """
        await self._journal.begin(version, notice)
        try:
            documents = self._registry.read(config)
            changes = await self.plan(documents, version)
        except (ConfigurationError, OSError) as exc:
            return await self._end("failed", _error("received", exc), remember)
        if cut():
            return await self._end("superseded", None, False)
        await self._journal.move("staged", changes=changes)
        try:
            for change in changes:
                await self._of(change).stage(change)
        except (ConfigurationError, OSError) as exc:
            return await self._end("failed", _error("staged", exc), remember)
        if cut():
            return await self._end("superseded", None, False)
        await self._journal.move("applying")
        problem = await self._bring(documents, changes, cut)
        if problem is None and not cut():
            problem = await self._kept(version)
            if problem is None:
                await self._discard(self._journal.attempt, kept=True)
                return Outcome(state="applied")
        return await self._roll_back(problem, remember)

    async def _bring(
        self, documents: Documents, changes: Sequence[Change], cut: Cut
    ) -> Problem | None:
        try:
            for change in changes:
                if cut():
                    return None
                await self._of(change).apply(change)
            await self._journal.move("checking")
            await self._check(documents, cut)
        except (ConfigurationError, OSError) as exc:
            return exc
        return None

    async def _check(self, documents: Documents, cut: Cut) -> None:
        """All checks at once; it ends when all have passed, one has failed, or at ``cut``."""
        if not documents.health:
            return
        checks = {
            asyncio.ensure_future(self._health.problem(check)): name
            for name, check in documents.health.items()
        }
        cutting = asyncio.ensure_future(cut.wait())
        try:
            waiting = set(checks)
            while waiting and not cut():
                done, _ = await asyncio.wait(
                    {*waiting, cutting}, return_when=asyncio.FIRST_COMPLETED
                )
                for check in done - {cutting}:
                    waiting.discard(check)
                    problem = check.result()
                    if problem is not None:
                        at = pointer(("health", checks[check]))
                        raise ConfigurationError("unhealthy", f"{checks[check]}: {problem}", at)
        finally:
            for each in (cutting, *checks):
                each.cancel()
            await asyncio.wait({cutting, *checks})

    async def _kept(self, version: Version) -> OSError | None:
        """From here on the version is the last good one, if that could be written down."""
        try:
            await self._journal.move(
                "applied",
                running=version,
                failures=self._journal.failures_without(version),
                died=0,
                died_with=None,
            )
        except OSError as exc:
            return exc
        return None

    async def _roll_back(self, problem: Problem | None, remember: bool) -> Outcome:
        """``problem`` None: a newer one waits."""
        stage = self._journal.attempt.state
        error = None if problem is None else _error(stage, problem)
        try:
            await self._journal.move("rolling_back", error=error)
        except OSError as exc:
            # What the journal says now leads to the same undoing, should this one be cut short.
            log.error("the journal can't be written; rolled back all the same", exc_info=exc)
            await self._undo(self._journal.attempt)
            raise
        broken = await self._undo(self._journal.attempt)
        if broken:
            before = "" if error is None else f" (rolled back because: {error.message})"
            message = "can't go back whole: " + "; ".join(broken) + before
            error = ConfigError(
                stage="rolling_back", code=ROLLBACK_FAILED, message=message[:ERROR_CHARS]
            )
            return await self._end("failed", error, remember)
        return await self._end("superseded" if error is None else "rolled_back", error, remember)

    async def _undo(self, attempt: Attempt) -> list[str]:
        """What could not be undone; one that can't does not keep the others."""
        broken = []
        changes = attempt.changes
        backwards = [change for change in reversed(changes) if not change.late]
        for change in (*backwards, *(change for change in changes if change.late)):
            try:
                await self._of(change).undo(change)
            except (ConfigurationError, OSError) as exc:
                log.error("a change can't be undone", extra={"path": change.path}, exc_info=exc)
                broken.append(f"{change.path}: {exc}")
        return broken

    async def _end(self, state: str, error: ConfigError | None, remember: bool) -> Outcome:
        attempt = self._journal.attempt
        known: dict[str, Any] = {}
        if remember and error is not None:
            failure = Failure(version=attempt.version, state=state, error=error)
            known["failures"] = self._journal.failures_with(failure)
        await self._journal.move(state, error=error, **known)
        await self._discard(self._journal.attempt, kept=False)
        return Outcome(state=state, error=error)

    async def _discard(self, attempt: Attempt, *, kept: bool) -> None:
        if attempt.error is not None and attempt.error.code == ROLLBACK_FAILED:
            return  # the backups are all that is left of what was there
        for change in attempt.changes:
            try:
                await self._of(change).discard(change, kept=kept)
            except (ConfigurationError, OSError) as exc:
                log.warning("something is left over", extra={"path": change.path}, exc_info=exc)

    def _of(self, change: Change) -> ConfigHandler:
        handler = self._registry.handler(change.document)
        if handler is None:
            message = f"{change.document}: this node has no handler for it any more"
            raise ConfigurationError("no_handler", message, change.path)
        return handler

    # Repairing what runs

    async def repair(self, version: Version, changes: tuple[Change, ...]) -> dict[str, str]:
        """Brings about what should be already; what could not be, and why, by path."""
        await self._journal.put(
            attempt=Attempt(version=version, state="staged", changes=changes, repair=True)
        )
        broken = {}
        for change in changes:
            handler = self._of(change)
            try:
                await handler.stage(change)
                await handler.apply(change)
            except (ConfigurationError, OSError) as exc:
                broken[change.path] = str(exc)
        await self._discard(self._journal.attempt, kept=True)
        await self._journal.settle()
        return broken

    # After a start

    async def recover(self) -> Outcome | None:
        """Brings back what was before an attempt that was cut short; what came of it, if decided:
        then the caller tells it, and settles the attempt."""
        attempt = self._journal.state.attempt
        if attempt is None:
            return None
        log.info("an attempt was cut short", extra={"state": attempt.state})
        if attempt.repair:
            await self._discard(attempt, kept=True)
            await self._journal.settle()
            return None
        if attempt.state in {"applied", "failed", "rolled_back", "superseded"}:
            await self._discard(attempt, kept=attempt.state == "applied")
            return Outcome(state=attempt.state, error=attempt.error)
        died = (
            self._journal.state.died if attempt.version.same(self._journal.state.died_with) else 0
        )
        error = attempt.error
        if attempt.state in {"applying", "checking"}:
            if died + 1 >= DEATHS:
                message = f"the agent died {died + 1} times with it, the last time {attempt.state}"
                error = ConfigError(stage=attempt.state, code="interrupted", message=message)
            await self._journal.move("rolling_back", error=error)
        if attempt.state not in {"received", "staged"}:
            return await self._go_back(error, died + 1)
        await self._discard(attempt, kept=False)
        return await self._count(attempt, died + 1)

    async def _go_back(self, error: ConfigError | None, died: int) -> Outcome | None:
        attempt = self._journal.attempt
        broken = await self._undo(attempt)
        if broken or error is not None:
            if broken:
                message = "can't go back whole: " + "; ".join(broken)
                error = ConfigError(
                    stage="rolling_back", code=ROLLBACK_FAILED, message=message[:ERROR_CHARS]
                )
            return await self._end("failed" if broken else "rolled_back", error, True)
        await self._discard(attempt, kept=False)
        return await self._count(attempt, died)

    async def _count(self, attempt: Attempt, died: int) -> Outcome | None:
        """Nothing of the attempt is left; it is made anew, or given up after too many deaths."""
        if died < DEATHS:
            await self._journal.settle(died=died, died_with=attempt.version)
            return None
        message = f"the agent died {died} times with it, the last time {attempt.state}"
        error = ConfigError(stage=attempt.state, code="interrupted", message=message)
        failure = Failure(version=attempt.version, state="failed", error=error)
        await self._journal.settle(
            failures=self._journal.failures_with(failure), died=0, died_with=None
        )
        return Outcome(state="failed", error=error)


def _error(stage: str, problem: Problem) -> ConfigError:
    if isinstance(problem, ConfigurationError):
        message = problem.message[:ERROR_CHARS]
        return ConfigError(stage=stage, code=problem.code, message=message, path=problem.path)
    return ConfigError(stage=stage, code="disk", message=str(problem)[:ERROR_CHARS])
