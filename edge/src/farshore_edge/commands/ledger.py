"""The ledger of commands: every id that was ever taken, and what became of it.

The id is durable before the verb runs and the final report before it is sent, so a command takes
effect at most once, whatever dies in between.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import msgspec
from farshore_protocol.codec import MAX_MESSAGE_BYTES, encode
from farshore_protocol.commands import NODE_COMMAND, Command, CommandError, Output
from farshore_protocol.errors import LocalProtocolError

from farshore_edge.commands.by_hand import is_mark, mark_of, told_of, without_args
from farshore_edge.commands.pledges import with_pledge
from farshore_edge.database import Change, CommandRow, Database, SetAside
from farshore_edge.errors import DatabaseError, RecordError
from farshore_edge.outbox import Outbox

ERROR_CHARS = 1_000
_SECRET = ("output", "result")
REPORT_MAX_BYTES = MAX_MESSAGE_BYTES - 1024
"""Of a report without its envelope."""
CLOCK_MARGIN_MS = 5_000
"""How far off the node's idea of the center's time may be."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """A command in the making: its state, and the states passed since its last report.

    ``from_memory``: the ledger can't be written; what is said of it does not wait for the disk.
    ``secret``: what it came to is sent, and not remembered.
    ``mark``, ``by_hand``: see ``by_hand.py``; the latter goes with its first report and with its last.
    """

    id: str
    verb: str
    request: bytes
    mark: bytes = b""
    by_hand: dict[str, Any] | None = None
    told: bool = False
    state: str = "received"
    at_ms: int = 0
    via: list[tuple[str, int]] = field(default_factory=list)
    from_memory: bool = False
    secret: bool = False

    def move(self, state: str, at_ms: int) -> None:
        """Takes the next state; a pair that the lifecycle's table does not hold raises."""
        NODE_COMMAND.check(self.state, state)
        if self.state != "received":
            self.via.append((self.state, self.at_ms))
        self.state, self.at_ms = state, at_ms


class Ledger:
    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        *,
        aside: SetAside | None = None,
        began_ms: Callable[[], float | None] = lambda: None,
    ) -> None:
        """``aside``: the database before this one, whose ledger is gone with it; ``began_ms``: the
        center's time when this start of the agent began, where it is known."""
        self._database = database
        self._outbox = outbox
        self._aside = aside
        self._began_ms = began_ms

    def begin(self, aside: SetAside | None) -> None:
        """The database was found late, and took the place of another one, if of any."""
        self._aside = aside

    async def knows(self, command: Command) -> bool:
        """Whether the ledger would hold the command if it had been run before; known once the
        center has said whether this disk went back in time.

        One that was made before this ledger began may stand in the one that is gone. A command
        without a time is a person's, made now.
        """
        made_ms = command.made if command.made is not None else command.iat
        if made_ms is None:
            return True
        self._aside = await self._outbox.until_answered() or self._aside
        if self._aside is None:
            return True
        if self._aside.ledger_from_ms is None:
            began_ms = self._began_ms()
            if began_ms is None:
                return False
            from_ms = int(began_ms) + CLOCK_MARGIN_MS
            self._aside = replace(self._aside, ledger_from_ms=from_ms, told=True)
            self._outbox.note(Change(aside=self._aside))
        return self._aside.ledger_from_ms is None or made_ms >= self._aside.ledger_from_ms

    def is_used(self, command_id: str) -> bool:
        """Whether the id stands in the ledger, as far as that can be read."""
        try:
            return self.find(command_id) is not None
        except DatabaseError:
            return False

    def find(self, command_id: str) -> CommandRow | None:
        """What is recorded of a command, durable or not yet. Raises DatabaseError."""
        return self._outbox.command(command_id)

    def unfinished(self) -> list[Entry]:
        return [_entry(row) for row in self._database.unfinished_commands()]

    async def note(self, entry: Entry) -> None:
        """The entry as it stands becomes durable; nothing is sent. Raises DatabaseError."""
        await self._database.commit(Change(commands=[_row(entry, None)]))

    async def pledge(self, entry: Entry, word: dict[str, Any]) -> None:
        """The entry becomes durable with what its verb has pledged. Raises DatabaseError."""
        before, entry.request = entry.request, with_pledge(entry.request, word)
        try:
            await self.note(entry)
        except DatabaseError:
            entry.request = before
            raise

    async def report(
        self,
        entry: Entry,
        *,
        output: tuple[Output, ...] = (),
        result: dict[str, Any] | None = None,
        error: CommandError | None = None,
        keep: bool = True,
    ) -> None:
        """The entry with a report becomes durable in one transaction; the report is then sent.

        ``keep``: whether the ledger remembers this report as the answer to a duplicate. Both wait
        in memory while the database can't be written. Raises RecordError for a report that can't
        travel, and then nothing was taken.
        """
        body: dict[str, Any] = {
            "id": entry.id,
            "verb": entry.verb,
            "state": entry.state,
            "at": entry.at_ms,
        }
        if entry.via:
            body["via"] = entry.via
        if output:
            body["output"] = [asdict(chunk) for chunk in output]
        if result is not None:
            body["result"] = result
        if error is not None:
            body["error"] = {"code": error.code, "message": error.message[:ERROR_CHARS]}
        try:
            if entry.by_hand is not None and (keep or not entry.told):
                body["by_hand"] = entry.by_hand
                if len(encode(body)) > REPORT_MAX_BYTES and entry.by_hand.get("args"):
                    body["by_hand"] = without_args(entry.by_hand)
            kept = {k: v for k, v in body.items() if not (entry.secret and k in _SECRET)}
            row = _row(entry, encode(kept) if keep else None)
        except LocalProtocolError as exc:
            raise RecordError(str(exc)) from exc
        entry.told = True
        via, entry.via = entry.via, []
        try:
            await self._say(entry.id, body, (row,), from_memory=entry.from_memory)
        except RecordError:
            entry.via = via
            raise

    async def _say(
        self,
        command_id: str,
        body: dict[str, Any],
        rows: tuple[CommandRow, ...] = (),
        *,
        from_memory: bool,
    ) -> None:
        path = f"res/{command_id}"
        if from_memory and self._outbox.can_say_from_memory():
            self._outbox.say_from_memory("results", path, body, commands=rows)
        else:
            await self._outbox.append("results", path, body, commands=rows)

    def can_answer_from_memory(self) -> bool:
        return self._outbox.can_say_from_memory()

    def failing(self) -> bool:
        """Whether the ledger is known to be unwritable now."""
        return self._outbox.outage() is not None

    async def repeat(self, row: CommandRow) -> None:
        """Says again what is recorded of a command; the answer to a duplicate id."""
        if row.report is not None:
            body = msgspec.json.decode(row.report)
        else:
            body = {"id": row.id, "verb": row.verb, "state": row.state, "at": row.at_ms}
        await self._say(row.id, body, from_memory=self._outbox.outage() is not None)


def _row(entry: Entry, report: bytes | None) -> CommandRow:
    return CommandRow(
        id=entry.id,
        verb=entry.verb,
        state=entry.state,
        at_ms=entry.at_ms,
        request=entry.mark if NODE_COMMAND.final(entry.state) else entry.request,
        report=report,
    )


def _entry(row: CommandRow) -> Entry:
    entry = Entry(id=row.id, verb=row.verb, request=row.request, state=row.state, at_ms=row.at_ms)
    try:
        command = request_of(entry)
    except msgspec.MsgspecError:
        return entry  # whoever runs it says so
    entry.mark, entry.by_hand = mark_of(row.verb, command), told_of(command, None)
    entry.secret = command.secret
    return entry


def contradicts(row: CommandRow, mark: bytes) -> bool:
    """Whether what is recorded under an id was asked for something else than this mark says."""
    recorded = row.request if is_mark(row.request) else _entry(row).mark
    return bool(recorded and mark) and recorded != mark


def request_of(entry: Entry) -> Command:
    """The command as it was taken."""
    return msgspec.json.decode(entry.request, type=Command)
