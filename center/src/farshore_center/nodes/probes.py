"""Answers the probes by which nodes measure their link; a bucket bounds what all of them may cost.

Nothing of them is kept. It never waits: a probe that waited would measure the wait.
"""

from collections.abc import Callable
from typing import Protocol

from farshore_protocol.codec import encode
from farshore_protocol.link import Message
from farshore_protocol.messages.probe import Probe, ProbeAnswer, padding
from farshore_protocol.topics import Down

BYTES_PER_S = 8 * 1024 * 1024
"""Of probes and their answers, for the whole fleet; as much may come at once."""
SMALL_BYTES = 512
"""A probe that is no larger, with its answer, is answered in any case: delays can always be measured."""


class Downlink(Protocol):
    async def send(self, message: Message) -> None: ...


class ProbeService:
    def __init__(self, downlink: Downlink, *, now_s: Callable[[], float]) -> None:
        self._downlink = downlink
        self._now_s = now_s
        self._room = float(BYTES_PER_S)
        self._at_s = now_s()

    async def asked(self, node: str, probe: Probe, size: int) -> None:
        """``size``: of the probe as it came, in bytes."""
        cost = size + probe.answer_bytes
        busy = cost > SMALL_BYTES and not self._pays(cost)
        answer = ProbeAnswer(
            test=probe.test,
            n=probe.n,
            bytes=size,
            busy=busy,
            pad="" if busy else padding(probe.answer_bytes, probe.n),
        )
        topic = Down(node=node, kind="probe").build()
        await self._downlink.send(Message(topic=topic, payload=encode(answer)))

    def _pays(self, cost: int) -> bool:
        now_s = self._now_s()
        self._room = min(BYTES_PER_S, self._room + (now_s - self._at_s) * BYTES_PER_S)
        self._at_s = now_s
        if cost > self._room:
            return False
        self._room -= cost
        return True
