"""Asks nodes how what they have taken stands, where the center may have missed the end.

A center that was restored from a backup forgets how a command ended, and a node whose disk was replaced
forgets that it had one: without a question such a target would be ``running`` for ever. So some time
after each birth, when what waited has come, the node is asked for what it has taken and not ended as the
center knows it. It answers from its ledger and runs nothing. This sends no command: that is
``dispatch.py``.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

import structlog
from farshore_protocol import codec
from farshore_protocol.commands import Command
from farshore_protocol.link import Message
from farshore_protocol.topics import Down
from sqlalchemy import Connection

from farshore_center.commands import store
from farshore_center.commands.dispatch import Downlink
from farshore_center.commands.schedule import Key
from farshore_center.commands.settings import CommandSettings
from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError

log = structlog.get_logger(__name__)

RETRY_MS = 10_000
TTL_S = 60.0


class Questions:
    def __init__(
        self,
        database: Database,
        downlink: Downlink,
        online: Callable[[], AbstractSet[str]],
        *,
        now_ms: Callable[[], int],
        settings: CommandSettings,
    ) -> None:
        self._database = database
        self._downlink = downlink
        self._online = online
        self._now_ms = now_ms
        self._settings = settings
        self._due_ms: dict[str, int] = {}
        self._woken = asyncio.Event()
        self.asked = 0
        """Since the start."""

    def node_arrived(self, node: str) -> None:
        """On a node's birth: it is asked a little later, once what it kept has had time to come."""
        self._due_ms[node] = self._now_ms() + round(self._settings.ask_after_s * 1000)
        self._woken.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self._woken.clear()
            await self._round()
            await self._wait()

    async def _wait(self) -> None:
        if not self._due_ms:
            await self._woken.wait()
            return
        # The wall clock may be set: it is looked at again at least this often.
        left_s = (min(self._due_ms.values()) - self._now_ms()) / 1000
        wait_s = min(max(left_s, 0.0), self._settings.ask_after_s)
        try:
            async with asyncio.timeout(wait_s):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _round(self) -> None:
        now_ms = self._now_ms()
        due = sorted(node for node, due_ms in self._due_ms.items() if due_ms <= now_ms)
        for node in due:
            del self._due_ms[node]
        # Who is gone is asked after its next birth.
        here = [node for node in due if node in self._online()]
        if not here:
            return

        def read(conn: Connection) -> tuple[Sequence[Key], dict[str, store.Order]]:
            keys = store.taken(conn, here)
            return keys, store.orders(conn, [command_id for command_id, _ in keys])

        try:
            keys, orders = await self._database.read(read)
        except DatabaseError as exc:
            log.error("open commands can't be read now", nodes=len(here), reason=str(exc))
            self._again(here, RETRY_MS)
            return
        if keys:
            await self._ask(keys, orders)
            self._again({node for _, node in keys}, round(self._settings.ask_again_s * 1000))

    def _again(self, nodes: Iterable[str], after_ms: int) -> None:
        for node in nodes:
            self._due_ms.setdefault(node, self._now_ms() + after_ms)

    async def _ask(self, keys: Sequence[Key], orders: dict[str, store.Order]) -> None:
        """A question that does not get through is put again."""
        for command_id, node in keys:
            try:
                async with asyncio.timeout(self._settings.send_timeout_s):
                    await self._downlink.send(
                        question(command_id, node, orders[command_id], self._now_ms())
                    )
            except TimeoutError:
                log.warning("open commands not asked for: the downlink is stuck")
                return
            except Exception as exc:  # whatever a downlink raises, the others must be asked
                log.warning("open command not asked for", node=node, reason=repr(exc))
                continue
            self.asked += 1


def question(command_id: str, node: str, order: store.Order, now_ms: int) -> Message:
    """What is recorded of the id?"""
    word = Command(id=command_id, ask=True, ttl_s=TTL_S, iat=now_ms, made=order.created_ms)
    topic = Down(node=node, kind="cmd", name=order.verb).build()
    return Message(topic=topic, payload=codec.encode(word), qos=1)
