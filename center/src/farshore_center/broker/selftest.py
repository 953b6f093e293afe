"""The self-test: tries on a broker, by delivery, all that the center needs of it.

Access is what arrives, never what a SUBACK grants: brokers grant subscriptions and then filter. It
takes what it needs from ``needs.py``, decides nothing, and leaves nothing behind at the broker. It
does not measure how fast a broker is.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from farshore_protocol.link import Link, Message, Session

from farshore_center.broker.errors import BrokerError
from farshore_center.broker.needs import Evidence, Report, Script, judge, unreached


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestSettings:
    """``within_s``: how long anything may take; a broker that can do all of it is not waited for."""

    within_s: float = 5.0


class _LostError(BrokerError):
    """The examination can't go on: the broker left, or would not take us."""


class _Probe:
    """One client of the self-test, and all that it heard."""

    def __init__(self, link: Link, session: Session, within_s: float) -> None:
        self._link = link
        self._session = session
        self._within_s = within_s
        self._changed = asyncio.Event()
        self.heard: list[Message] = []
        self._running = asyncio.create_task(link.run(self), name="self-test")

    # LinkHandler

    def session(self, conn: int) -> Session:  # noqa: ARG002 - a link calls it so
        return self._session

    def link_up(self, conn: int) -> None:  # noqa: ARG002 - a link calls it so
        self._changed.set()

    def link_down(self, conn: int, reason: str) -> None:  # noqa: ARG002 - a link calls it so
        self._changed.set()

    def received(self, message: Message) -> None:
        self.heard.append(message)
        self._changed.set()

    # The examiner's part

    async def _until(self, condition: Callable[[], bool]) -> bool:
        try:
            async with asyncio.timeout(self._within_s):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def connect(self) -> None:
        if not await self._until(lambda: self._link.connected):
            raise _LostError(f"no connection within {self._within_s:g} s")

    def say(self, *messages: Message) -> None:
        for message in messages:
            if not self._link.publish(message):
                raise _LostError("the connection was lost meanwhile")

    def _found(self, wanted: Message) -> Message | None:
        """The first that came of a topic: live, whatever it says."""
        return next((m for m in self.heard if m.topic == wanted.topic), None)

    async def hear(self, wanted: Message) -> Message | None:
        await self._until(lambda: self._found(wanted) is not None)
        return self._found(wanted)

    async def hear_payload(self, wanted: Message) -> None:
        await self._until(
            lambda: any((m.topic, m.payload) == (wanted.topic, wanted.payload) for m in self.heard)
        )

    async def leave(self) -> None:
        await self._link.close()
        await self.drop()

    async def drop(self) -> None:
        """Ends without a word, as a machine does that loses its power."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)


class SelfTest:
    """Examines one broker. ``new_link`` gives a new link to it, not yet running."""

    def __init__(
        self, new_link: Callable[[], Link], settings: SelfTestSettings | None = None
    ) -> None:
        self._new_link = new_link
        self._within_s = (settings or SelfTestSettings()).within_s

    async def examine(self, name: str) -> Report:
        """``name``: a node's name that nobody has; a new one for each examination."""
        script = Script(name=name)
        try:
            async with AsyncExitStack() as stack:
                evidence = await self._gather(script, stack)
        except _LostError as exc:
            return unreached(str(exc))
        return judge(script, evidence)

    async def _probe(
        self,
        stack: AsyncExitStack,
        client_id: str,
        filters: tuple[str, ...] = (),
        will: Message | None = None,
    ) -> _Probe:
        session = Session(client_id=client_id, filters=filters, will=will)
        probe = _Probe(self._new_link(), session, self._within_s)
        stack.push_async_callback(probe.leave)
        await probe.connect()
        return probe

    async def _gather(self, script: Script, stack: AsyncExitStack) -> Evidence:
        center = await self._probe(stack, f"{script.name}-center", script.center_filters)
        node = await self._probe(stack, script.name, script.node_filters, script.will)
        node.say(script.live, script.deep)
        center.say(script.down, script.group)
        live, deep, down, group = await asyncio.gather(
            center.hear(script.live),
            center.hear(script.deep),
            node.hear(script.down),
            node.hear(script.group),
        )
        late, later = await self._retained(script, stack, center, node)
        await node.drop()
        will = await center.hear(script.will)
        again = await self._next_session(script, stack, center)
        return Evidence(
            live=live,
            deep=deep,
            down=down,
            group=group,
            late=late,
            later=later,
            will=will,
            again=again,
            large=await self._large(script, stack, center),
        )

    async def _retained(
        self, script: Script, stack: AsyncExitStack, center: _Probe, node: _Probe
    ) -> tuple[tuple[Message, ...] | None, tuple[Message, ...] | None]:
        node.say(script.kept)
        await center.hear_payload(script.kept)
        late = await self._latecomer(script, stack, center, f"{script.name}-late", wait=True)
        node.say(script.cleared)
        await center.hear_payload(script.cleared)
        later = await self._latecomer(script, stack, center, f"{script.name}-later", wait=False)
        return late, later

    async def _latecomer(
        self, script: Script, stack: AsyncExitStack, center: _Probe, client_id: str, *, wait: bool
    ) -> tuple[Message, ...] | None:
        """What comes with a new subscription to what is retained; ``wait``: something should."""
        probe = await self._probe(stack, client_id, (script.kept.topic, script.marker.topic))
        if wait:
            await probe.hear(script.kept)
        center.say(script.marker)
        marked = await probe.hear(script.marker)
        return tuple(probe.heard) if marked is not None else None

    async def _next_session(
        self, script: Script, stack: AsyncExitStack, center: _Probe
    ) -> tuple[Message, ...] | None:
        """What a second session of the node hears, which subscribes to the marker alone."""
        center.say(script.missed)
        again = await self._probe(stack, script.name, (script.marker.topic,))
        center.say(script.stale, script.marker)
        marked = await again.hear(script.marker)
        await again.leave()
        return tuple(again.heard) if marked is not None else None

    async def _large(self, script: Script, stack: AsyncExitStack, center: _Probe) -> Message | None:
        """Last, since brokers cut the sender of what is too large for them.

        By the node's name, as everything that goes up: a broker may keep nodes to their topics.
        """
        sender = await self._probe(stack, script.name)
        sender.say(script.large)
        return await center.hear(script.large)
