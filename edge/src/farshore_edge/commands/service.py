"""Takes commands from the link, runs them, reports each state.

In order: decode → judge → id not seen → **durably recorded** → run → **durably recorded** → sent.
A command that ends within ``QUIET_S`` sends one report that holds its whole way (``via``).
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from farshore_protocol.codec import decode, encode
from farshore_protocol.commands import VERBS, Command, CommandError, Output
from farshore_protocol.errors import RemoteProtocolError
from farshore_protocol.ids import Ids

from farshore_edge.commands.ledger import Entry, Ledger, request_of
from farshore_edge.commands.policy import Accepted, Policy, Refused, judge
from farshore_edge.commands.verbs.model import Context, Handlers, Outcome
from farshore_edge.errors import DatabaseError

log = logging.getLogger(__name__)

QUIET_S = 0.25
WAITING_MAX = 256


class CommandService:
    def __init__(
        self,
        ledger: Ledger,
        handlers: Handlers,
        *,
        policy: Policy,
        ids: Ids,
        now_ms: Callable[[], int],
        center_ms: Callable[[], float | None],
        at_once: int,
        output_max_bytes: int,
    ) -> None:
        self._ledger = ledger
        self._handlers = handlers
        self._policy = policy
        self._ids = ids
        self._now_ms = now_ms
        self._center_ms = center_ms
        self._places = asyncio.Semaphore(at_once)
        self._output_max_bytes = output_max_bytes
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def running(self) -> list[str]:
        """Ids of commands that are running or waiting for their turn."""
        return list(self._tasks)

    def take(self, verb: str, payload: bytes) -> None:
        """A command from the link; never raises, never blocks."""
        try:
            command = decode(Command, payload or b"{}")
        except RemoteProtocolError as exc:
            command_id = self._ids.command(self._now_ms())
            error = CommandError(code=exc.reason, message=exc.detail)
            refusal = Refused(state="rejected", error=error)
            self._start(
                command_id, self._refuse(Entry(id=command_id, verb=verb, request=b""), refusal)
            )
            return
        command_id = command.id or self._ids.command(self._now_ms())
        if command_id in self._tasks:
            return  # it is running: its report will be the answer
        if len(self._tasks) >= WAITING_MAX:
            log.error("too many commands wait; one is dropped", extra={"command": command_id})
            return  # nothing is recorded, so the center's next try finds it new
        self._start(command_id, self._process(verb, replace(command, id=command_id)))

    def _start(self, command_id: str, work: Any) -> None:
        task = asyncio.create_task(work, name=f"command {command_id}")
        self._tasks[command_id] = task
        task.add_done_callback(lambda done: self._ended(command_id, done))

    def _ended(self, command_id: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(command_id, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("a command broke", extra={"command": command_id}, exc_info=task.exception())

    async def _process(self, verb: str, command: Command) -> None:
        entry = Entry(id=command.id or "", verb=verb, request=encode(command))
        recorded = self._ledger.find(entry.id)
        if recorded is not None:
            await self._ledger.repeat(recorded)
            return
        verdict = judge(
            verb,
            command,
            policy=self._policy,
            known=self._handlers.keys(),
            center_ms=self._center_ms(),
        )
        if isinstance(verdict, Refused):
            await self._refuse(entry, verdict)
            return
        received_ms = self._now_ms()
        async with self._places:
            waited_s = (self._now_ms() - received_ms) / 1000
            if command.ttl_s is not None and waited_s > command.ttl_s:
                message = f"waited {waited_s:.1f} s for its turn, longer than its time to live"
                error = CommandError(code="expired", message=message)
                await self._refuse(entry, Refused(state="expired", error=error))
                return
            entry.move("accepted", self._now_ms())
            try:
                await self._ledger.note(entry)
            except DatabaseError as exc:
                log.error("the ledger can't be written; the command is not run", exc_info=exc)
                return  # without a line in the ledger nothing may be done
            await self._run(entry, verdict, command)

    async def _refuse(self, entry: Entry, refusal: Refused) -> None:
        entry.move(refusal.state, self._now_ms())
        await self._ledger.report(entry, error=refusal.error)

    async def _run(self, entry: Entry, verdict: Accepted, command: Command) -> None:
        entry.move("running", self._now_ms())
        teller = _Teller(entry, self._ledger)
        timeout_s = command.timeout_s or verdict.verb.timeout_s
        context = Context(
            timeout_s=timeout_s, output_max_bytes=self._output_max_bytes, emit=teller.emit
        )
        announce = asyncio.create_task(teller.announce())
        try:
            outcome = await self._handle(entry.verb, verdict.args, context)
        except asyncio.CancelledError:
            await teller.stop(announce)
            error = CommandError(code="agent_stopped", message="the agent was stopped meanwhile")
            await self._finish(entry, Outcome(state="interrupted", error=error), teller)
            raise
        await teller.stop(announce)
        await self._finish(entry, outcome, teller)

    async def _handle(self, verb: str, args: object, context: Context) -> Outcome:
        """The handler with its timeout; ``exec`` minds its own, so that its group can end."""
        margin_s = 10.0 if verb == "exec" else 0.0
        try:
            return await asyncio.wait_for(
                self._handlers[verb](args, context), context.timeout_s + margin_s
            )
        except TimeoutError:
            message = f"no answer within {context.timeout_s:g} s"
            return Outcome(state="timed_out", error=CommandError(code="timed_out", message=message))
        except Exception as exc:
            log.exception("a verb failed", extra={"verb": verb})
            message = f"{type(exc).__name__}: {exc}"
            return Outcome(state="failed", error=CommandError(code="broken", message=message))

    async def _finish(self, entry: Entry, outcome: Outcome, teller: "_Teller") -> None:
        entry.move(outcome.state, self._now_ms())
        await self._ledger.report(
            entry,
            output=(*teller.unsent(), *outcome.output),
            result=outcome.result,
            error=outcome.error,
        )

    async def recover(self) -> None:
        """After a start: what was accepted or running when the agent died is resolved."""
        for entry in self._ledger.unfinished():
            entry.move("interrupted", self._now_ms())
            verb = VERBS.get(entry.verb)
            if verb is not None and verb.idempotent and entry.verb in self._handlers:
                self._start(entry.id, self._run_again(entry))
                continue
            message = "the agent died between start and result; it is not known what was done"
            await self._ledger.report(
                entry, error=CommandError(code="interrupted", message=message)
            )

    async def _run_again(self, entry: Entry) -> None:
        command = request_of(entry)
        verdict = judge(
            entry.verb,
            replace(command, iat=None),
            policy=self._policy,
            known=self._handlers.keys(),
            center_ms=None,
        )
        if isinstance(verdict, Accepted):
            async with self._places:
                await self._run(entry, verdict, command)

    async def stop(self) -> None:
        """Ends what runs; each is reported as interrupted."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=10)


class _Teller:
    """Reports of one running command: silent for ``QUIET_S``, then with its output as it comes."""

    def __init__(self, entry: Entry, ledger: Ledger) -> None:
        self._entry = entry
        self._ledger = ledger
        self._loud = False
        self._chunks: list[Output] = []
        self._speaking = asyncio.Lock()

    async def announce(self) -> None:
        await asyncio.sleep(QUIET_S)
        self._loud = True
        await self._speak()

    async def emit(self, chunk: Output) -> None:
        self._chunks.append(chunk)
        if self._loud or sum(len(c.text) for c in self._chunks) > 8 * 1024:
            await self._speak()

    async def _speak(self) -> None:
        async with self._speaking:
            chunks, self._chunks = self._chunks, []
            await self._ledger.report(self._entry, output=tuple(chunks), keep=False)

    def unsent(self) -> tuple[Output, ...]:
        chunks, self._chunks = self._chunks, []
        return tuple(chunks)

    async def stop(self, announce: asyncio.Task[None]) -> None:
        """No report is under way when this returns."""
        announce.cancel()
        async with self._speaking:
            return
