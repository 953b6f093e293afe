"""Probes are answered at once and as large as asked, and all of them together cost a bounded share."""

from farshore_center.nodes.probes import BYTES_PER_S, ProbeService
from farshore_protocol.clock import ManualClock
from farshore_protocol.codec import MAX_MESSAGE_BYTES, decode
from farshore_protocol.link import Message
from farshore_protocol.messages import Probe, ProbeAnswer
from farshore_protocol.messages.probe import PAD_MAX


class Wire:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.sent: list[Message] = []
        self.probes = ProbeService(self, now_s=self.clock.monotonic_s)

    async def send(self, message: Message) -> None:
        assert len(message.payload) <= MAX_MESSAGE_BYTES
        self.sent.append(message)

    async def ask(self, n: int, size: int = 100, answer: int = 0) -> ProbeAnswer:
        await self.probes.asked("n1", Probe(test="t", n=n, answer_bytes=answer), size)
        return decode(ProbeAnswer, self.sent[-1].payload)


async def test_an_answer_says_what_arrived_and_holds_what_was_asked_for() -> None:
    wire = Wire()
    answer = await wire.ask(7, size=321, answer=PAD_MAX)
    assert (answer.test, answer.n, answer.bytes, answer.busy) == ("t", 7, 321, False)
    assert len(answer.pad) == PAD_MAX
    assert (wire.sent[-1].topic, wire.sent[-1].qos) == ("fs1/down/n1/probe", 0)


async def test_beyond_its_share_it_says_busy_and_still_measures_delays() -> None:
    wire = Wire()
    large = BYTES_PER_S // PAD_MAX + 1
    answers = [await wire.ask(n, answer=PAD_MAX) for n in range(large)]
    assert [answer.busy for answer in answers].index(True) >= large - 2
    assert answers[-1].busy
    assert answers[-1].pad == ""
    assert not (await wire.ask(1000)).busy, "a small one is answered in any case"
    wire.clock.advance(1.0)
    assert not (await wire.ask(1001, answer=PAD_MAX)).busy
