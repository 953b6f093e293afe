"""The node's configuration: takes desired ones and overrides, one transaction at a time, and keeps
watch over what runs.

One worker does everything in turn. A desired configuration that comes meanwhile waits in one place:
the newest takes it, and the attempt under way is cut at its next step, undone where it has begun.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from farshore_protocol.codec import decode
from farshore_protocol.config.messages import DesiredConfig, Override
from farshore_protocol.telemetry import inflate

from farshore_edge.config import decision
from farshore_edge.config.attempts import Attempts
from farshore_edge.config.drift import Drift
from farshore_edge.config.journal import Journal
from farshore_edge.config.model import ConfigHandler, Site, Tell, Version
from farshore_edge.config.overriding import Overriding
from farshore_edge.config.parts import ConfigParts, Place
from farshore_edge.config.registry import Registry
from farshore_edge.config.teller import Teller
from farshore_edge.config.transaction import Outcome, Transactor
from farshore_edge.errors import ConfigurationError

log = logging.getLogger(__name__)

RETRY_S = 5.0
LONGEST_WAIT_S = 3600.0
STOP_WITHIN_S = 5.0


class ConfigService:
    """``own``: the handler of the agent's own settings. ``place``: until the center has told another;
    ``moved`` is called with each other group. ``now_ms``: by the center's clock where it is known."""

    def __init__(
        self,
        parts: ConfigParts,
        own: ConfigHandler,
        *,
        node: str,
        place: Place,
        tell: Tell,
        facts: Callable[[], dict[str, Any]],
        now_ms: Callable[[], int],
        monotonic_s: Callable[[], float],
        moved: Callable[[], None],
    ) -> None:
        self._node = node
        self._first_place = place
        self._facts = facts
        self._moved = moved
        self._journal = Journal(parts.store)
        self._registry = Registry((*parts.handlers, own), parts.discover)
        self._teller = Teller(self._journal, tell, lambda: self._drift.differences)
        self._transactor = Transactor(self._journal, self._registry, parts.health, self._site)
        self._drift = Drift(
            self._transactor,
            self._registry,
            tell=self._teller.record,
            report=self._teller.report,
            monotonic_s=monotonic_s,
        )
        self._incoming: DesiredConfig | None = None
        self._waiting: list[tuple[Override | None, asyncio.Future[Outcome]]] = []
        self._retries: list[asyncio.Future[None]] = []
        self._attempts = Attempts(self._journal, self._transactor, self._drift, self._teller)
        self._overriding = Overriding(
            self._journal, self._attempts, self._teller, first_place=place, now_ms=now_ms
        )
        self._wake = asyncio.Event()
        self._stopping = False
        self._worker: asyncio.Task[Any] | None = None

    # What it says of itself

    @property
    def running(self) -> Version | None:
        """The last good one."""
        return self._journal.state.running

    @property
    def place(self) -> Place:
        desired = self._journal.state.desired
        if desired is None:
            return self._first_place
        return Place(group=desired.group, labels=desired.labels)

    def revisions(self) -> dict[str, int]:
        """For the birth: which one of the center's runs."""
        running = self.running
        return {"config": running.rev} if running is not None and running.rev > 0 else {}

    def digests(self) -> dict[str, str]:
        running = self.running
        return {"config": running.digest} if running is not None and running.rev > 0 else {}

    def status(self) -> dict[str, Any]:
        return self._teller.status()

    def effective(self) -> dict[str, Any]:
        """What runs, with its override merged; empty where nothing does."""
        running = self.running
        return (self._journal.effective(running) if running is not None else None) or {}

    def override(self) -> Override | None:
        return self._journal.override

    def _site(self, version: Version) -> Site:
        return Site(node=self._node, group=version.group, labels=version.labels, facts=self._facts)

    # What it is told

    def take(self, payload: bytes) -> None:
        """A desired configuration from the link. Raises MessageError for what is none."""
        desired = decode(DesiredConfig, inflate(payload), limit_bytes=decision.MAX_DESIRED_BYTES)
        if self._incoming is not None and desired.rev < self._incoming.rev:
            return
        self._incoming = desired
        newer = decision.decide(self._journal.state, desired) == "take"
        if newer:
            self._attempts.cut_for(self._with_override(desired))
        self._wake.set()

    def _with_override(self, desired: DesiredConfig) -> Version:
        return replace(decision.version_of(desired), override=self.override())

    async def set_override(self, override: Override | None) -> Outcome:
        """Sets or (None) clears it, as a transaction of its own."""
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((override, answer))
        self._wake.set()
        return await answer

    async def retry(self) -> None:
        """Forgets the failures; returns when the desired one was tried again, if there is one."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._retries.append(answer)
        self._wake.set()
        await answer

    # The worker

    async def run(self) -> None:
        self._worker = asyncio.current_task()
        recovered = False
        while not self._stopping:
            self._wake.clear()
            try:
                if not recovered:
                    await self.begin()
                    recovered = True
                await self._turn()
                wait_s = self._wait_s()
            except OSError as exc:  # the journal can't be written: nothing may be done without it
                log.error("the configuration's journal can't be written", exc_info=exc)
                recovered, wait_s = False, RETRY_S
            except Exception:  # no configuration may cost the node its agent
                log.exception("the configuration could not be worked on")
                self._incoming = None  # the center sends it again, or a better one
                recovered, wait_s = False, RETRY_S
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def begin(self) -> None:
        """What the last life left is cleared up, and the last good configuration runs."""
        outcome = await self._transactor.recover()
        self._drift.runs()
        running = self.running
        config = None if running is None else self._journal.effective(running)
        if running is not None and config is not None:
            await self._run_volatile(running, config)
            log.info("the last good configuration runs", extra={"rev": running.rev})
        if outcome is not None:
            log.info("an attempt has ended before", extra={"state": outcome.state})
            await self._attempts.conclude(outcome)

    async def _run_volatile(self, running: Version, config: Mapping[str, Any]) -> None:
        """What ended with the last life of the agent; the rest is the first look's business."""
        try:
            documents = self._registry.read(config)
            parts = tuple(part for part in documents.parts if part[0].volatile)
            for change in await self._transactor.plan(replace(documents, parts=parts), running):
                handler = self._registry.handler(change.document)
                if handler is not None:
                    await handler.apply(change)
        except ConfigurationError as exc:
            log.error("the last good configuration can't be read", extra={"error": exc.message})

    async def _turn(self) -> None:
        await self._take_incoming()
        await self._take_retries()
        await self._reconcile()
        while self._waiting and not self._stopping:
            override, answer = self._waiting.pop(0)
            outcome = await self._overriding.bring(override)
            if not answer.done():
                answer.set_result(outcome)
        if not self._stopping:
            await self._overriding.expire()
        await self._reconcile()
        tried = self._attempts.take_tried()
        running = self.running
        config = None if running is None else self._journal.effective(running)
        # After an attempt the look is left to the next turn: the report goes first.
        if running is not None and config is not None and not tried and self._drift.due():
            await self._drift.look(running, config)

    def _wait_s(self) -> float:
        if self._incoming is not None or self._waiting or self._retries:
            return 0.0
        running = self.running
        waits = [LONGEST_WAIT_S]
        if running is not None:
            waits.append(self._drift.wait_s())
        if (expiry_s := self._overriding.wait_s()) is not None:
            waits.append(expiry_s)
        return max(0.01, min(waits))

    async def _take_incoming(self) -> None:
        desired = self._incoming
        if desired is None:
            return
        await self._consider(desired)
        if self._incoming is desired:  # else a newer one came meanwhile
            self._incoming = None

    async def _consider(self, desired: DesiredConfig) -> None:
        wrong = decision.flaw(desired)
        if wrong is not None:
            about = decision.version_of(desired)
            await self._teller.report_of(about, "failed", wrong)
            return
        if decision.decide(self._journal.state, desired) == "ahead":
            log.warning("the center's configuration is older than mine", extra={"rev": desired.rev})
            await self._teller.report()
            return
        before = self.place.group
        version = decision.version_of(desired)
        await self._journal.store.keep(desired.digest, desired.config)
        if self._journal.state.desired != version:
            await self._journal.put(desired=version)
        if self.place.group != before:
            log.info("the node is in another group", extra={"group": self.place.group})
            self._moved()
        target = self._journal.target()
        running = self.running
        if running is not None and running.same(target) and running.rev != version.rev:
            await self._journal.put(running=replace(running, rev=version.rev))
        await self._teller.report()  # of one that is to be tried first there is nothing to say yet

    async def _take_retries(self) -> None:
        retries, self._retries = self._retries, []
        if retries:
            await self._journal.put(failures=(), died=0, died_with=None)
            await self._reconcile()
        for answer in retries:
            if not answer.done():
                answer.set_result(None)

    async def _reconcile(self) -> None:
        """Tries the desired configuration, if it does not run and has not failed yet."""
        target = self._journal.target()
        if target is None or self._stopping or target.same(self.running):
            return
        if self._journal.failure(target) is not None:
            return
        config = self._journal.effective(target)
        if config is None:
            return  # its file is lost: the center will send it again
        if self._incoming is None:
            await self._attempts.make(target, config, remember=True)

    # Ending

    async def stop(self) -> None:
        """The attempt under way ends at its next step, undone; a step that hangs is left to the
        journal, and so to the next start."""
        self._stopping = True
        self._attempts.cut()
        self._wake.set()
        if self._worker is not None and self._worker is not asyncio.current_task():
            await asyncio.wait([self._worker], timeout=STOP_WITHIN_S)
            self._worker.cancel()
            await asyncio.wait([self._worker], timeout=STOP_WITHIN_S)
        for _, answer in self._waiting:
            answer.cancel()
        for retry in self._retries:
            retry.cancel()
