"""Takes commands from the link, runs them, reports each state.

In order: decode → judge → id not seen → **durably recorded** → run → **durably recorded** → sent.
A command that ends within ``QUIET_S`` sends one report that holds its whole way (``via``).
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import msgspec
from farshore_protocol.codec import decode, encode
from farshore_protocol.commands import VERBS, Command, CommandError
from farshore_protocol.errors import RemoteProtocolError
from farshore_protocol.ids import Ids
from farshore_protocol.names import is_name

from farshore_edge.commands.ending import ended, interrupted
from farshore_edge.commands.ledger import Entry, Ledger, request_of
from farshore_edge.commands.policy import Accepted, Policy, Refused, judge
from farshore_edge.commands.teller import Teller
from farshore_edge.commands.verbs.model import Context, Handlers, Outcome
from farshore_edge.errors import DatabaseError

log = logging.getLogger(__name__)

WAITING_MAX = 256
EXEC_MARGIN_S = 10.0
"""``exec`` minds its own timeout, so that its process group can end; this is for what hangs then."""
STOP_WITHIN_S = 10.0
DIED = "the agent died between start and result; it is not known what was done"
STOPPED = "the agent was stopped meanwhile"
LEDGER_LOST = (
    "the node's ledger of commands was damaged and begun anew: this command was made before that, "
    "and may have been run already; make it anew if it is still wanted"
)
LEDGER_UNWRITABLE = (
    "the node's disk can't be written, so it could not remember the command and might run it twice"
)


class CommandService:
    def __init__(
        self,
        ledger: Ledger,
        handlers: Handlers,
        *,
        policy: Policy,
        ids: Ids,
        now_ms: Callable[[], int],
        monotonic_s: Callable[[], float],
        center_ms: Callable[[], float | None],
        at_once: int,
        output_max_bytes: int,
    ) -> None:
        self._ledger = ledger
        self._handlers = handlers
        self._policy = policy
        self._ids = ids
        self._now_ms = now_ms
        self._monotonic_s = monotonic_s
        self._center_ms = center_ms
        self._places = asyncio.Semaphore(at_once)
        self._output_max_bytes = output_max_bytes
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._concluding: set[asyncio.Task[None]] = set()
        self._stopping = False

    def running(self) -> list[str]:
        """Ids of commands that are running or waiting for their turn."""
        return list(self._tasks)

    def take(self, verb: str, payload: bytes) -> None:
        """A command from the link; never raises, never blocks.

        What is not taken is not recorded either, so that the center's next try finds it new.
        """
        refusal = None
        try:
            command = decode(Command, payload or b"{}")
        except RemoteProtocolError as exc:
            error = CommandError(code=exc.reason, message=exc.detail)
            refusal = Refused(state="rejected", error=error)
            command = Command(id=_id_in(payload))
        command_id = command.id or self._ids.command(self._now_ms())
        if self._stopping or command_id in self._tasks:
            return  # of a running command the report will be the answer
        if len(self._tasks) >= WAITING_MAX:
            log.error("too many commands wait; one is dropped", extra={"command": command_id})
            return
        self._start(command_id, self._process(verb, replace(command, id=command_id), refusal))

    def _start(self, command_id: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"command {command_id}")
        self._tasks[command_id] = task
        task.add_done_callback(lambda done: self._ended(command_id, done))

    def _ended(self, command_id: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(command_id, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("a command broke", extra={"command": command_id}, exc_info=task.exception())

    async def _process(self, verb: str, command: Command, refusal: Refused | None) -> None:
        entry = Entry(id=command.id or "", verb=verb, request=encode(command))
        try:
            recorded = self._ledger.find(entry.id)
        except DatabaseError as exc:
            log.error("the ledger can't be read", extra={"error": str(exc)})
            recorded, entry.from_memory = None, True
        if recorded is not None:
            await self._ledger.repeat(recorded)
            return
        received_s = self._monotonic_s()
        verdict = refusal or self._judge(verb, command)
        if isinstance(verdict, Accepted) and not await self._may_be_new(verdict, command):
            verdict = _rejected("ledger_lost", LEDGER_LOST)
        if isinstance(verdict, Refused):
            await self._refuse(entry, verdict)
            return
        async with self._places:
            waited_s = self._monotonic_s() - received_s
            if command.ttl_s is not None and waited_s > command.ttl_s:
                message = f"waited {waited_s:.1f} s for its turn, longer than its time to live"
                error = CommandError(code="expired", message=message)
                await self._refuse(entry, Refused(state="expired", error=error))
                return
            await self._recorded_and_run(entry, verdict, command)

    async def _may_be_new(self, verdict: Accepted, command: Command) -> bool:
        return verdict.verb.idempotent or await self._ledger.knows(command)

    async def _recorded_and_run(self, entry: Entry, verdict: Accepted, command: Command) -> None:
        """Without a line in the ledger nothing may be done but what changes nothing."""
        noted = replace(entry, via=[])
        noted.move("accepted", self._now_ms())
        if not entry.from_memory:
            try:
                await self._ledger.note(noted)
            except DatabaseError as exc:
                log.error("the ledger can't be written", extra={"error": str(exc)})
                noted.from_memory = entry.from_memory = True
        if not entry.from_memory:
            await self._run(noted, verdict, command)
        elif not self._ledger.can_answer_from_memory():
            log.error("the command is not run", extra={"command": entry.id})
        elif verdict.verb.idempotent and verdict.verb.risk == "read":
            await self._run(noted, verdict, command)
        else:
            await self._refuse(entry, _rejected("ledger_unwritable", LEDGER_UNWRITABLE))

    def _judge(self, verb: str, command: Command) -> Accepted | Refused:
        return judge(
            verb,
            command,
            policy=self._policy,
            known=self._handlers.keys(),
            center_ms=self._center_ms(),
        )

    async def _refuse(self, entry: Entry, refusal: Refused) -> None:
        entry.move(refusal.state, self._now_ms())
        entry.from_memory = entry.from_memory or self._ledger.failing()
        await self._ledger.report(entry, error=refusal.error)

    async def _run(self, entry: Entry, verdict: Accepted, command: Command) -> None:
        entry.move("running", self._now_ms())
        teller = Teller(entry, self._ledger)
        context = Context(
            timeout_s=command.timeout_s or verdict.verb.timeout_s,
            output_max_bytes=self._output_max_bytes,
            emit=teller.emit,
        )
        try:
            outcome = await self._handle(entry.verb, verdict.args, context)
        except asyncio.CancelledError:
            await self._conclude(entry, interrupted("agent_stopped", STOPPED), teller)
            raise
        await self._conclude(entry, outcome, teller)

    async def _handle(self, verb: str, args: object, context: Context) -> Outcome:
        margin_s = EXEC_MARGIN_S if verb == "exec" else 0.0
        try:
            async with asyncio.timeout(context.timeout_s + margin_s):
                return await self._handlers[verb](args, context)
        except TimeoutError:
            message = f"no answer within {context.timeout_s:g} s"
            return Outcome(state="timed_out", error=CommandError(code="timed_out", message=message))
        except Exception as exc:  # whatever a verb does, its command gets an end
            log.exception("a verb failed", extra={"verb": verb})
            message = f"{type(exc).__name__}: {exc}"
            return Outcome(state="failed", error=CommandError(code="broken", message=message))

    async def _conclude(self, entry: Entry, outcome: Outcome, teller: Teller) -> None:
        """What a verb came to is recorded even if the agent is stopped at this very moment."""
        task = asyncio.create_task(self._finish(entry, outcome, teller))
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

    async def recover(self) -> None:
        """After a start: what was accepted or running when the agent died is resolved."""
        for entry in self._ledger.unfinished():
            entry.move("interrupted", self._now_ms())
            verb = VERBS.get(entry.verb)
            if verb is not None and verb.idempotent:
                self._start(entry.id, self._run_again(entry))
            else:
                await self._report_died(entry)

    async def _report_died(self, entry: Entry) -> None:
        error = CommandError(code="interrupted", message=DIED)
        await self._ledger.report(entry, error=error)

    async def _run_again(self, entry: Entry) -> None:
        try:
            command = request_of(entry)
        except msgspec.MsgspecError as exc:
            log.error("a recorded command can't be read", extra={"command": entry.id}, exc_info=exc)
            await self._report_died(entry)
            return
        # It was in time when it came.
        verdict = self._judge(entry.verb, replace(command, iat=None))
        if isinstance(verdict, Refused):
            await self._report_died(entry)
            return
        async with self._places:
            await self._run(entry, verdict, command)

    async def stop(self) -> None:
        """Takes nothing more and ends what runs; each is reported as interrupted."""
        self._stopping = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_WITHIN_S)
        if self._concluding:
            await asyncio.wait(self._concluding, timeout=STOP_WITHIN_S)


def _rejected(code: str, message: str) -> Refused:
    return Refused(state="rejected", error=CommandError(code=code, message=message))


def _id_in(payload: bytes) -> str | None:
    """The id of a command that is wrong otherwise, so that its sender finds the answer."""
    try:
        named = decode(dict[str, Any], payload).get("id")
    except RemoteProtocolError:
        return None
    return named if isinstance(named, str) and is_name(named) else None
