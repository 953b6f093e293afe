"""Secret commands: what is erased of them, and when.

Their arguments go as soon as no node has to be sent them any more, the rest (output, results) when
who gave the command has had time to read it. Nodes, states, times and errors stay. The time is not
kept in memory: a center that was dead looks at its start.
"""

import asyncio
from collections.abc import Callable

import structlog
from farshore_protocol.commands.lifecycle import FINAL
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    text,
    update,
)

from farshore_center.commands.model import commands, outputs, targets
from farshore_center.commands.settings import CommandSettings
from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError

log = structlog.get_logger(__name__)

_NO_ARGS = "{}"


def erase(conn: Connection, now_ms: int, kept_s: float) -> int:
    """Erases what is due; gives how many commands are left that are still to be erased."""
    conn.execute(
        update(commands)
        .where(_secret(), commands.c.args != _NO_ARGS, ~_some_target(_unanswered()))
        .values(args=_NO_ARGS)
    )
    over = conn.execute(select(commands.c.id).where(_secret(), _is_over(now_ms, kept_s))).scalars()
    for command_id in over.all():
        conn.execute(delete(outputs).where(outputs.c.command_id == command_id))
        conn.execute(update(targets).where(targets.c.command_id == command_id).values(result=None))
        conn.execute(
            update(commands)
            .where(commands.c.id == command_id)
            .values(args=_NO_ARGS, request_digest=None, erased=True)
        )
    return _left(conn)


def _left(conn: Connection) -> int:
    left = conn.execute(select(func.count()).select_from(commands).where(_secret()))
    return int(left.scalar_one())


def _secret() -> ColumnElement[bool]:
    return text("secret AND NOT erased")  # type: ignore[return-value] # as the index has it


def _is_over(now_ms: int, kept_s: float) -> ColumnElement[bool]:
    """Every target is at its end since ``kept_s``, or its node will not be heard of again."""
    kept_ms = int(kept_s * 1000)
    under_way = or_(targets.c.state.not_in(FINAL), targets.c.updated_ms > now_ms - kept_ms)
    last_ms = commands.c.expires_ms + func.coalesce(commands.c.timeout_s, 0) * 1000 + kept_ms
    lost = and_(last_ms < now_ms, ~_some_target(_unanswered()))
    return or_(~_some_target(under_way), lost)


def _unanswered() -> ColumnElement[bool]:
    return targets.c.state.in_(("queued", "sent"))


def _some_target(such: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(targets.c.command_id == commands.c.id, such)


class Eraser:
    def __init__(
        self, database: Database, *, now_ms: Callable[[], int], settings: CommandSettings
    ) -> None:
        self._database = database
        self._now_ms = now_ms
        self._settings = settings
        self._some = asyncio.Event()

    def there_is_one(self) -> None:
        self._some.set()

    async def run(self) -> None:
        """Until it is cancelled; it sleeps where there is no secret command."""
        self._some.set()
        while True:
            await self._some.wait()
            self._some.clear()
            try:
                left = await self.look()
            except DatabaseError as exc:
                log.error("secret commands can't be erased now", reason=str(exc))
                left = 1
            if left:
                self._some.set()
                await asyncio.sleep(self._settings.secret_look_s)

    async def look(self) -> int:
        """One round; how many are left."""
        kept_s = self._settings.secret_kept_s
        if not await self._database.read(_left):
            return 0
        return await self._database.write(lambda conn: erase(conn, self._now_ms(), kept_s))
