"""Takes commands from the link, runs them, reports each state.

In order: decode → judge → id not seen → **durably recorded** → run → **durably recorded** → sent.
A command that ends within ``QUIET_S`` sends one report that holds its whole way (``via``). One that
has to wait for its place says so, with how many are ahead, and keeps its turn over a restart.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from farshore_protocol.codec import encode
from farshore_protocol.commands import VERBS, Command, CommandError, Verb
from farshore_protocol.ids import Ids

from farshore_edge.commands.by_hand import told_of
from farshore_edge.commands.ledger import Entry, Ledger, contradicts
from farshore_edge.commands.policy import Accepted, Policy, Refused, judge, rejected
from farshore_edge.commands.queue import Lanes
from farshore_edge.commands.reception import Received, receive
from farshore_edge.commands.recovery import Recovery
from farshore_edge.commands.runner import Runner
from farshore_edge.commands.teller import QUIET_S
from farshore_edge.commands.verbs.guard import Orphan
from farshore_edge.commands.verbs.model import Handlers
from farshore_edge.database import CommandRow
from farshore_edge.errors import DatabaseError

log = logging.getLogger(__name__)

WAITING_MAX = 256
STOP_WITHIN_S = 10.0
CANCELLED_WAITING = "cancelled before it was run"
CANCELLED_UNSEEN = "cancelled before it came to the node"
CANCEL_WITHIN_S = 20.0
LEDGER_LOST = (
    "the node's ledger of commands was damaged and begun anew: this command was made before that, "
    "and may have been run already; make it anew if it is still wanted"
)
NOT_IN_LEDGER = (
    "the node's ledger does not hold this command any more (its disk was replaced or set back): it is "
    "not known what was done"
)
TOO_MANY = (
    f"{WAITING_MAX} commands wait or run here already; it was dropped, not recorded and not run: "
    "send it again later (see what runs: status)"
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
        catalogue: Mapping[str, Verb] = VERBS,
        dropped: Callable[[str, str], None] = lambda _verb, _why: None,
    ) -> None:
        """``dropped``: told of a command of this verb that is not taken, and why."""
        self._ledger = ledger
        self._handlers = handlers
        self._policy = policy
        self._ids = ids
        self._now_ms = now_ms
        self._monotonic_s = monotonic_s
        self._center_ms = center_ms
        self._lanes = Lanes(at_once, patience_s=QUIET_S)
        self._catalogue = catalogue
        self._dropped = dropped
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._marks: dict[str, bytes] = {}
        self._stopping = False
        self._runner = Runner(ledger, handlers, now_ms=now_ms, output_max_bytes=output_max_bytes)
        self._recovery = Recovery(
            self, ledger, handlers, self._runner, self._lanes, now_ms=now_ms, catalogue=catalogue
        )

    def running(self) -> list[str]:
        """Ids of commands that are running or waiting for their turn."""
        return list(self._tasks)

    def waiting(self) -> list[str]:
        """Ids of commands that wait for their turn; in each lane the first is the next."""
        return self._lanes.waiting()

    def take(self, verb: str, payload: bytes, group: str | None = None) -> None:
        """A command from the link, said to a ``group`` or to this node; never raises, never blocks.

        What is not taken is not recorded either, so that the center's next try finds it new.
        """
        center_ms, now_ms = self._center_ms(), self._now_ms()
        received = receive(
            verb,
            payload,
            group,
            now_ms=now_ms if center_ms is None else int(center_ms),
            make_id=lambda: self._ids.command(now_ms),
            is_used=lambda name: name in self._tasks or self._ledger.is_used(name),
        )
        if received.mark and self._marks.get(received.id, received.mark) != received.mark:
            received = received.in_conflict("a command that waits or runs")
        if self._stopping or received.id in self._tasks:
            return  # of a running command the report will be the answer
        if len(self._tasks) >= WAITING_MAX:
            log.error("too many commands wait; one is dropped", extra={"command": received.id})
            self._dropped(verb, TOO_MANY)
            return
        self.start(received.id, self._process(received), received.mark)

    def start(self, command_id: str, work: Coroutine[Any, Any, None], mark: bytes = b"") -> None:
        task = asyncio.create_task(work, name=f"command {command_id}")
        self._tasks[command_id] = task
        if mark:  # else nothing is known that could contradict
            self._marks[command_id] = mark
        task.add_done_callback(lambda done: self._ended(command_id, done))

    def _ended(self, command_id: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(command_id, None)
        self._marks.pop(command_id, None)
        self._runner.forget(command_id)
        if not task.cancelled() and task.exception() is not None:
            log.error("a command broke", extra={"command": command_id}, exc_info=task.exception())

    async def _process(self, received: Received) -> None:
        entry = _entry_of(received)
        recorded = self._recorded(entry)
        if recorded is not None and contradicts(recorded, entry.mark):
            received = received.in_conflict(f"{recorded.verb!r}, which is {recorded.state}")
            entry = _entry_of(received)
            recorded = self._recorded(entry)
        if recorded is not None:
            await self._ledger.repeat(recorded)
            return
        command = received.command
        if command.ask and received.refusal is None:
            await self._not_in_ledger(entry)
            return
        received_s = self._monotonic_s()
        verdict = received.refusal or received.judged(self.judge(received.verb, command))
        if isinstance(verdict, Accepted) and not await self._may_be_new(verdict, command):
            verdict = rejected("ledger_lost", LEDGER_LOST)
        if isinstance(verdict, Refused):
            await self.refuse(entry, verdict)
            return
        await self.in_turn(entry, verdict, command, lambda: self._monotonic_s() - received_s)

    async def _not_in_ledger(self, entry: Entry) -> None:
        """The center asked for what it knows to have been taken here. The word is recorded, so that a
        late copy of the command is not run after it."""
        if entry.from_memory or self._ledger.failing():
            return  # what can't be read now may hold it; the center asks again
        entry.move("interrupted", self._now_ms())
        error = CommandError(code="ledger_lost", message=NOT_IN_LEDGER)
        await self._ledger.report(entry, error=error)

    def _recorded(self, entry: Entry) -> CommandRow | None:
        try:
            return self._ledger.find(entry.id)
        except DatabaseError as exc:
            log.error("the ledger can't be read", extra={"error": str(exc)})
            entry.from_memory = True
            return None

    async def in_turn(
        self, entry: Entry, verdict: Accepted, command: Command, waited: Callable[[], float]
    ) -> None:
        """``waited``: seconds since it came."""

        async def waits(ahead: int) -> None:
            entry.at_ms = self._now_ms()
            if not (entry.from_memory or self._ledger.failing()):
                await self._ledger.report(entry, result={"ahead": ahead}, keep=False)

        try:
            async with self._lanes.place(verdict, entry.id, waits):
                waited_s = waited()
                if command.ttl_s is not None and waited_s > command.ttl_s:
                    message = f"waited {waited_s:.1f} s for its turn, longer than its time to live"
                    error = CommandError(code="expired", message=message)
                    await self.refuse(entry, Refused(state="expired", error=error))
                    return
                await self._recorded_and_run(entry, verdict, command)
        except asyncio.CancelledError:
            # What runs has concluded by itself.
            if entry.state != "received" or entry.id not in self._runner.to_cancel:
                raise
            await self._runner.concluded(self.refuse(entry, _cancelled(CANCELLED_WAITING)))

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
        if not entry.from_memory or self._only_asks(verdict):
            entry.state = noted.state
            await self._runner.run(noted, verdict, command)
        elif not self._ledger.can_answer_from_memory():
            log.error("the command is not run", extra={"command": entry.id})
        else:
            await self.refuse(entry, rejected("ledger_unwritable", LEDGER_UNWRITABLE))

    def _only_asks(self, verdict: Accepted) -> bool:
        may = verdict.verb.idempotent and verdict.risk == "read"
        return may and self._ledger.can_answer_from_memory()

    def judge(self, verb: str, command: Command) -> Accepted | Refused:
        return judge(
            verb,
            command,
            policy=self._policy,
            known=self._handlers.keys(),
            center_ms=self._center_ms(),
            catalogue=self._catalogue,
        )

    async def refuse(self, entry: Entry, refusal: Refused) -> None:
        entry.move(refusal.state, self._now_ms())
        entry.from_memory = entry.from_memory or self._ledger.failing()
        await self._ledger.report(entry, error=refusal.error)

    async def cancel(self, command_id: str, verb: str | None) -> str | None:
        """Ends a command; gives the state that it is in then, None when that can't be told.

        A command that has not come yet is recorded as cancelled, so that it is not run when it does.
        """
        task = self._tasks.get(command_id)
        if task is not None and command_id not in self._runner.pledged:
            self._runner.to_cancel.add(command_id)
            task.cancel()
            await asyncio.wait([task], timeout=CANCEL_WITHIN_S)
            await self._runner.until_concluded(CANCEL_WITHIN_S)
        try:
            recorded = self._ledger.find(command_id)
        except DatabaseError as exc:
            log.error("the ledger can't be read", extra={"error": str(exc)})
            return None
        if recorded is None:
            if task is None:
                entry = Entry(id=command_id, verb=verb or "unknown", request=b"")
                await self.refuse(entry, _cancelled(CANCELLED_UNSEEN))
                return entry.state
            return None
        if task is None:  # its sender may not have heard the end
            await self._ledger.repeat(recorded)
        return recorded.state

    async def recover(self, ended: Mapping[str, Sequence[Orphan]] | None = None) -> None:
        """After a start: what waited for its turn waits again, and what was accepted or running when
        the agent died is resolved. ``ended``: command → what it had left, and was ended now."""
        await self._recovery.recover(ended or {})

    async def stop(self) -> None:
        """Takes nothing more and ends what runs; each is reported as interrupted."""
        self._stopping = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_WITHIN_S)
        await self._runner.until_concluded(STOP_WITHIN_S)


def _cancelled(message: str) -> Refused:
    return Refused(state="cancelled", error=CommandError(code="cancelled", message=message))


def _entry_of(received: Received) -> Entry:
    return Entry(
        id=received.id,
        verb=received.verb,
        request=encode(received.command),
        mark=received.mark,
        by_hand=told_of(received.command, received.group),
        secret=received.command.secret,
    )
