"""Runs commands that may run: the verb's handler, its output as it comes, and its end into the ledger.

Whether and when a command may run is the service's business. What a verb came to is recorded even if
the agent is stopped at this very moment.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from farshore_protocol.commands import Command, CommandError

from farshore_edge.commands.ending import ended, interrupted
from farshore_edge.commands.ledger import Entry, Ledger
from farshore_edge.commands.policy import Accepted
from farshore_edge.commands.teller import Teller
from farshore_edge.commands.verbs.model import Context, Handlers, Outcome

log = logging.getLogger(__name__)

Work = Callable[[Context], Awaitable[Outcome]]

OWN_TIMEOUT = frozenset({"exec", "restart-agent", "reboot"})
OWN_TIMEOUT_MARGIN_S = 10.0
"""``exec`` minds its own timeout, so that its process group can end, and so does what waits for the
next start of the agent; this is for what hangs then."""
STOPPED = "the agent was stopped meanwhile"
CANCELLED = "cancelled; what it had started was ended"


class Runner:
    """``pledged``: ids of commands whose end only a later start can tell; ``to_cancel``: of those that
    a cancelled task ends as cancelled, not as interrupted."""

    def __init__(
        self,
        ledger: Ledger,
        handlers: Handlers,
        *,
        now_ms: Callable[[], int],
        output_max_bytes: int,
    ) -> None:
        self._ledger = ledger
        self._handlers = handlers
        self._now_ms = now_ms
        self._output_max_bytes = output_max_bytes
        self._concluding: set[asyncio.Task[None]] = set()
        self.pledged: set[str] = set()
        self.to_cancel: set[str] = set()

    def forget(self, command_id: str) -> None:
        """Its task has ended."""
        self.pledged.discard(command_id)
        self.to_cancel.discard(command_id)

    async def run(self, entry: Entry, verdict: Accepted, command: Command) -> None:
        """From the state that it is in to its end."""
        entry.move("running", self._now_ms())
        timeout_s = command.timeout_s or verdict.verb.timeout_s
        handler = self._handlers[entry.verb]
        await self.work(entry, timeout_s, lambda context: handler(verdict.args, context))

    async def work(self, entry: Entry, timeout_s: float, work: Work) -> None:
        """``work`` in place of the handler of its verb."""
        teller = Teller(entry, self._ledger)

        async def pledge(word: dict[str, Any]) -> None:
            await self._ledger.pledge(entry, word)
            self.pledged.add(entry.id)

        context = Context(
            timeout_s=timeout_s,
            output_max_bytes=self._output_max_bytes,
            emit=teller.emit,
            command_id=entry.id,
            pledge=pledge,
        )
        try:
            outcome = await self._handle(entry.verb, work, context)
        except asyncio.CancelledError:
            if entry.id in self.pledged:  # its end is for the next start to tell
                await self.concluded(_silenced(teller))
            elif entry.id in self.to_cancel:
                error = CommandError(code="cancelled", message=CANCELLED)
                await self._conclude(entry, Outcome(state="cancelled", error=error), teller)
            else:
                await self._conclude(entry, interrupted("agent_stopped", STOPPED), teller)
            raise
        await self._conclude(entry, outcome, teller)

    async def _handle(self, verb: str, work: Work, context: Context) -> Outcome:
        margin_s = OWN_TIMEOUT_MARGIN_S if verb in OWN_TIMEOUT else 0.0
        try:
            async with asyncio.timeout(context.timeout_s + margin_s):
                return await work(context)
        except TimeoutError:
            message = f"no answer within {context.timeout_s:g} s"
            return Outcome(state="timed_out", error=CommandError(code="timed_out", message=message))
        except Exception as exc:  # whatever a verb does, its command gets an end
            log.exception("a verb failed", extra={"verb": verb})
            message = f"{type(exc).__name__}: {exc}"
            return Outcome(state="failed", error=CommandError(code="broken", message=message))

    async def _conclude(self, entry: Entry, outcome: Outcome, teller: Teller) -> None:
        await self.concluded(self._finish(entry, outcome, teller))

    async def concluded(self, work: Coroutine[Any, Any, None]) -> None:
        """Does what puts an end to a command; it goes on if the caller is cancelled."""
        task = asyncio.create_task(work)
        self._concluding.add(task)
        task.add_done_callback(self._concluding.discard)
        await asyncio.shield(task)

    async def _finish(self, entry: Entry, outcome: Outcome, teller: Teller) -> None:
        unsaid = [*await teller.stop(), *outcome.output]
        earlier, last, outcome = ended(outcome, unsaid)
        for portion in earlier:
            await self._ledger.report(entry, output=portion, keep=False)
        entry.move(outcome.state, self._now_ms())
        await self._ledger.report(entry, output=last, result=outcome.result, error=outcome.error)

    async def until_concluded(self, within_s: float) -> None:
        if self._concluding:
            await asyncio.wait(self._concluding, timeout=within_s)


async def _silenced(teller: Teller) -> None:
    await teller.stop()
