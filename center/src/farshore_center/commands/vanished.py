"""Gives up on what a node has taken when the node has vanished: offline, and silent for a day.

Who waits for the command learns that nobody knows what was done. Should the node come back after all,
its word counts as ever. Nothing is sent here: that is ``dispatch.py``.
"""

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

import structlog
from sqlalchemy import Connection

from farshore_center.commands import engine, store
from farshore_center.commands.engine import Target
from farshore_center.commands.reports import drafts_of
from farshore_center.commands.settings import CommandSettings
from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from farshore_center.events import Event, EventLog

log = structlog.get_logger(__name__)


class Vanished:
    def __init__(
        self,
        database: Database,
        events: EventLog,
        online: Callable[[], AbstractSet[str]],
        *,
        now_ms: Callable[[], int],
        settings: CommandSettings,
    ) -> None:
        self._database = database
        self._events = events
        self._online = online
        self._now_ms = now_ms
        self._settings = settings
        self.given_up = 0
        """Targets since the start."""

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(self._settings.vanished_look_s)
            try:
                await self.look()
            except DatabaseError as exc:
                log.error("vanished nodes' commands can't be looked at now", reason=str(exc))

    async def look(self) -> None:
        """One round. Most find nothing, and then nothing is written."""
        if not await self._database.read(self._due):
            return
        ended, events = await self._database.write(self._give_up)
        self.given_up += len(ended)
        log.warning("nodes have vanished with commands", targets=len(ended))
        self._events.announce(events)

    def _due(self, conn: Connection) -> list[Target]:
        online = self._online()
        keys = [key for key in store.taken(conn) if key[1] not in online]
        orders = store.orders(conn, {command_id for command_id, _ in keys})
        found = []
        for target in store.load_targets(conn, keys).values():
            given_up = engine.give_up(
                target,
                self._now_ms(),
                timeout_s=orders[target.command_id].timeout_s,
                after_s=self._settings.vanished_after_s,
            )
            if given_up is not None:
                found.append(given_up)
        return found

    def _give_up(self, conn: Connection) -> tuple[Sequence[Target], list[Event]]:
        ended = self._due(conn)
        store.save_targets(conn, ended)
        return ended, self._events.append(conn, drafts_of(ended, self._now_ms()))
