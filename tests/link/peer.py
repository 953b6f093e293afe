"""One end of a conversation in a test: a link, its running task, and all that its handler heard."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from farshore_protocol.link import Link, Message, Session

PATIENCE_S = 8.0


class Peer:
    """``heard`` is the story in order: ``("up", conn)``, ``("down", conn)`` or a Message."""

    def __init__(
        self, link: Link, client_id: str, *filters: str, will: Message | None = None
    ) -> None:
        self.link = link
        self.template = Session(client_id=client_id, filters=filters, will=will)
        self.heard: list[tuple[str, int] | Message] = []
        self.reasons: list[str] = []
        self.sessions: list[int] = []
        self.at_up: Callable[[], None] | None = None
        self.at_message: Callable[[Message], None] | None = None
        self.will_of: Callable[[int], Message] | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # The handler's part

    def session(self, conn: int) -> Session:
        self.sessions.append(conn)
        self._changed.set()
        will = self.will_of(conn) if self.will_of is not None else self.template.will
        return replace(self.template, will=will)

    def link_up(self, conn: int) -> None:
        self._take(("up", conn))
        if self.at_up is not None:
            self.at_up()

    def link_down(self, conn: int, reason: str) -> None:
        self.reasons.append(reason)
        self._take(("down", conn))

    def received(self, message: Message) -> None:
        self._take(message)
        if self.at_message is not None:
            self.at_message(message)

    def _take(self, what: tuple[str, int] | Message) -> None:
        self.heard.append(what)
        self._changed.set()

    # The test's part

    @property
    def messages(self) -> list[Message]:
        return [each for each in self.heard if isinstance(each, Message)]

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]

    @property
    def ups(self) -> int:
        return sum(each[0] == "up" for each in self.heard if isinstance(each, tuple))

    @property
    def downs(self) -> int:
        return sum(each[0] == "down" for each in self.heard if isinstance(each, tuple))

    def run(self) -> asyncio.Task[None]:
        self._task = asyncio.create_task(self.link.run(self))
        return self._task

    async def start(self) -> "Peer":
        self.run()
        await self.until(lambda: self.ups > 0)
        return self

    async def until(self, condition: Callable[[], bool], deadline_s: float = PATIENCE_S) -> None:
        try:
            async with asyncio.timeout(deadline_s):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not within {deadline_s} s; heard: {self.heard}") from None

    async def until_messages(self, count: int) -> None:
        await self.until(lambda: len(self.messages) == count)

    async def end(self) -> None:
        """Closes the link and sees that the story was well-formed."""
        async with asyncio.timeout(PATIENCE_S):
            await self.link.close()
            if self._task is not None:
                await asyncio.wait([self._task])
                if not self._task.cancelled():
                    self._task.result()
        assert not self.link.connected
        self.check_story()

    def check_story(self) -> None:
        """Ups and downs come in pairs of one connection, and messages only between them."""
        up: int | None = None
        for each in self.heard:
            if isinstance(each, Message):
                assert up is not None, f"a message without a connection: {self.heard}"
                continue
            what, conn = each
            assert (what == "up") == (up is None), f"{what} twice: {self.heard}"
            assert what == "up" or up == conn, f"down of another connection: {self.heard}"
            up = conn if what == "up" else None
        assert up is None, f"the last connection never went down: {self.heard}"
