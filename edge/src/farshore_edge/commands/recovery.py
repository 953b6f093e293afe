"""What becomes of the commands that a dead agent had taken: at the next start each is waited for again,
run again, asked of its verb, or told to be interrupted. A second run is for idempotent verbs alone.
"""

import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

import msgspec
from farshore_protocol.commands import Command, CommandError, Verb

from farshore_edge.commands.ledger import Entry, Ledger, request_of
from farshore_edge.commands.pledges import Resumable, pledge_of
from farshore_edge.commands.policy import Accepted, Refused
from farshore_edge.commands.queue import Lanes
from farshore_edge.commands.runner import Runner
from farshore_edge.commands.verbs.guard import Orphan, told
from farshore_edge.commands.verbs.model import Handlers

log = logging.getLogger(__name__)

DIED = "the agent died between start and result; it is not known what was done"
ORPHANS_TOLD = 100


class Reception(Protocol):
    """What is done with a command that has just come, too."""

    def start(
        self, command_id: str, work: Coroutine[Any, Any, None], mark: bytes = b""
    ) -> None: ...

    def judge(self, verb: str, command: Command) -> Accepted | Refused: ...

    async def refuse(self, entry: Entry, refusal: Refused) -> None: ...

    async def in_turn(
        self, entry: Entry, verdict: Accepted, command: Command, waited: Callable[[], float]
    ) -> None: ...


class Recovery:
    def __init__(
        self,
        reception: Reception,
        ledger: Ledger,
        handlers: Handlers,
        runner: Runner,
        lanes: Lanes,
        *,
        now_ms: Callable[[], int],
        catalogue: Mapping[str, Verb],
    ) -> None:
        self._reception = reception
        self._ledger = ledger
        self._handlers = handlers
        self._runner = runner
        self._lanes = lanes
        self._now_ms = now_ms
        self._catalogue = catalogue
        self._orphans: dict[str, Sequence[Orphan]] = {}

    async def recover(self, ended: Mapping[str, Sequence[Orphan]]) -> None:
        """``ended``: command → what it had left, and was ended now."""
        self._orphans = dict(ended)
        for entry in self._ledger.unfinished():
            if entry.state == "received":
                self._reception.start(entry.id, self._wait_again(entry), entry.mark)
                continue
            pledge = pledge_of(entry.request)
            handler = self._handlers.get(entry.verb)
            if pledge is not None and isinstance(handler, Resumable):
                self._runner.pledged.add(entry.id)
                self._reception.start(entry.id, self._resume(entry, handler, pledge))
                continue
            entry.move("interrupted", self._now_ms())
            verb = self._catalogue.get(entry.verb)
            if verb is not None and verb.idempotent:
                self._reception.start(entry.id, self._run_again(entry), entry.mark)
            else:
                await self._report_died(entry)

    async def _resume(self, entry: Entry, verb: Resumable, pledge: dict[str, Any]) -> None:
        """What an earlier start has begun is not done again; what became of it is found out."""
        if entry.state == "accepted":
            entry.move("running", self._now_ms())
        timeout_s = request_of(entry).timeout_s or self._catalogue[entry.verb].timeout_s
        await self._runner.work(entry, timeout_s, lambda context: verb.resume(pledge, context))

    async def _report_died(self, entry: Entry) -> None:
        left = self._orphans.get(entry.id, ())
        message = DIED + (
            f"; at this start was ended what it had left: {told(left)}" if left else ""
        )
        result = {"ended": [asdict(each) for each in left[:ORPHANS_TOLD]]} if left else None
        error = CommandError(code="interrupted", message=message)
        await self._ledger.report(entry, result=result, error=error)

    async def _run_again(self, entry: Entry) -> None:
        try:
            command = request_of(entry)
        except msgspec.MsgspecError as exc:
            log.error("a recorded command can't be read", extra={"command": entry.id}, exc_info=exc)
            await self._report_died(entry)
            return
        entry.secret = command.secret
        # It was in time when it came.
        verdict = self._reception.judge(entry.verb, replace(command, iat=None))
        if isinstance(verdict, Refused):
            await self._report_died(entry)
            return
        async with self._lanes.place(verdict, entry.id, _in_silence):
            await self._runner.run(entry, verdict, command)

    async def _wait_again(self, entry: Entry) -> None:
        """It was in time when it came, and was never begun."""
        try:
            command = request_of(entry)
        except msgspec.MsgspecError as exc:
            log.error("a recorded command can't be read", extra={"command": entry.id}, exc_info=exc)
            entry.move("interrupted", self._now_ms())
            await self._report_died(entry)
            return
        entry.secret = command.secret
        verdict = self._reception.judge(entry.verb, replace(command, iat=None))
        if isinstance(verdict, Refused):
            await self._reception.refuse(entry, verdict)
            return
        came_ms = entry.at_ms
        waited = lambda: (self._now_ms() - came_ms) / 1000  # noqa: E731
        await self._reception.in_turn(entry, verdict, command, waited)


async def _in_silence(_ahead: int) -> None:
    return
