"""Waiting for the end of a command, for who asks with ``wait_s``.

Events of the command wake it, and then one small question is put to the database; it looks now and
then without one as well, because what another process of the center commits is not announced here.
"""

import asyncio

from sqlalchemy import Connection

from farshore_center.commands import store
from farshore_center.commands.views import CommandView
from farshore_center.db.database import Database
from farshore_center.events import EventFilter, EventLog

MAX_WAIT_S = 60.0
LOOK_AGAIN_S = 5.0


async def until_done(
    database: Database, events: EventLog, command_id: str, wait_s: float
) -> CommandView | None:
    """The command when every target is at its end; None after ``wait_s``, when the center stops, or
    when there is no such command."""

    def look(conn: Connection) -> tuple[bool, CommandView | None]:
        # Both in one question: each way to a reader and back takes its time.
        if store.is_open(conn, command_id):
            return True, None
        return False, store.view(conn, command_id)

    wanted = EventFilter(command=command_id, kind="command.target")
    with events.subscribe(wanted) as subscription:
        try:
            async with asyncio.timeout(wait_s):
                while not events.closed:
                    # Before the look: what comes during it wakes again.
                    subscription.rearm()
                    is_open, view = await database.read(look)
                    if not is_open:
                        return view
                    await subscription.news(LOOK_AGAIN_S)
        except TimeoutError:
            return None
    return None
