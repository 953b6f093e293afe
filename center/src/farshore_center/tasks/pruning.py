"""What is not kept for ever: ended grants, first in documents and then in the database, and old history."""

from collections.abc import Callable

from sqlalchemy import Connection

from farshore_center.db.database import Database
from farshore_center.tasks import store
from farshore_center.tasks.settings import TaskSettings

EVERY_S = 600.0


class Pruning:
    def __init__(
        self,
        database: Database,
        *,
        now_ms: Callable[[], int],
        now_s: Callable[[], float],
        settings: TaskSettings,
    ) -> None:
        self._database = database
        self._now_ms = now_ms
        self._now_s = now_s
        self._settings = settings
        self._pruned_s = now_s()
        self._told_ms = self._shown_ms()

    def _shown_ms(self) -> int:
        """What has ended before stands in no document any more."""
        return self._now_ms() - round(self._settings.keep_ended_s * 1000)

    async def prune(self) -> set[str]:
        """Where it is time; the nodes that are told anew what they have to do."""
        if self._now_s() - self._pruned_s < min(EVERY_S, self._settings.keep_ended_s):
            return set()
        self._pruned_s = self._now_s()
        told_ms, self._told_ms = self._told_ms, self._shown_ms()
        before_ms = self._now_ms() - round(self._settings.keep_grants_s * 1000)

        def work(conn: Connection) -> set[str]:
            nodes = store.nodes_with_ended(conn, told_ms, self._told_ms)
            store.bump(conn, nodes)
            store.prune_grants(conn, before_ms)
            store.prune_history(conn, self._settings.keep_lines)
            return nodes

        return await self._database.write(work)
