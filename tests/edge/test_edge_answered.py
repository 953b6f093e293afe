"""An outbox and the answer to its birth: what waits for it, and the new epoch of a disk that went back."""

import asyncio
from typing import Any

import orjson
from edge.edge_bench import FailingDatabase, eventually, seeded_ids, timing
from farshore_edge.database import MemoryDatabase
from farshore_edge.outbox import Courier, Outbox
from farshore_edge.outbox.quota import Quota
from farshore_edge.outbox.rewind import REWOUND
from farshore_edge.outbox.room import QUOTA
from farshore_protocol.clock import ManualClock
from farshore_protocol.link import Message
from farshore_protocol.stream import STREAMS, Book, RangeSet, Sender, StreamAck
from farshore_protocol.telemetry import inflate


class Node:
    """An outbox with its courier on a database that others may have used before."""

    def __init__(
        self, database: FailingDatabase, seed: int = 1, quota: Quota | None = None
    ) -> None:
        self.clock = ManualClock()
        self.sent: list[dict[str, Any]] = []
        self.births = self.woken = 0
        sender = Sender()
        self.outbox = Outbox(
            database,
            sender,
            now=lambda: timing(self.clock),
            max_bytes=1 << 20,
            woken=self._wake,
            draw_epoch=lambda: f"drawn{seed}",
            quotas={} if quota is None else {"events": quota},
            retry_s=0.01,
            asks=True,
        )
        self.courier = Courier(
            node="pi",
            outbox=self.outbox,
            sender=sender,
            uplink=self,
            clock=self.clock,
            say_birth=self._birth,
        )

    def _birth(self) -> None:
        self.births += 1

    def _wake(self) -> None:
        self.woken += 1

    def publish(self, message: Message) -> bool:
        self.sent.append(orjson.loads(inflate(message.payload)))
        return True

    async def event(self, word: str) -> int:
        return await self.outbox.append("events", "evt/x", {"data": {"word": word}})

    async def answer(self, events: StreamAck) -> None:
        epoch = self.outbox.heads()["events"].epoch
        ack = {name: StreamAck(epoch=epoch, head=0) for name in STREAMS}
        await self.courier.acknowledged(ack | {"events": events})
        await self.courier._carry()


async def one_life(database: FailingDatabase, word: str) -> str:
    """An agent that was answered, and made one record that nobody has acknowledged; its epoch."""
    node = Node(database)
    await node.outbox.recover()
    node.courier.link_up()
    epoch = node.outbox.heads()["events"].epoch
    await node.answer(StreamAck(epoch=epoch, head=0))
    await node.event(word)
    return epoch


async def test_nothing_is_sent_nor_deleted_before_the_answer_and_the_birth_is_said_again() -> None:
    node = Node(FailingDatabase())
    await node.outbox.recover()
    node.courier.link_up()
    node.courier.center_is(True)
    await node.event("one")
    epoch = node.outbox.heads()["events"].epoch
    node.clock.advance(60)
    assert await node.courier._carry() is not None
    assert (node.sent, node.births) == ([], 1)
    assert node.outbox.heads()["events"].head == 0, "what was made since is not announced"
    await node.courier.acknowledged({"events": StreamAck(epoch=epoch, ranges=((1, 1),), head=1)})
    assert node.outbox.queues()["events"].records == 1
    await node.answer(StreamAck(epoch=epoch, head=0))
    assert [(word["epoch"], word["seq"]) for word in node.sent] == [(epoch, 1)]
    assert node.outbox.heads()["events"].head == 1


async def test_what_is_sent_where_no_center_is_heard_says_so_and_comes_again() -> None:
    """Whoever listens gets it; a center that comes just then must not take it for an older time's."""
    node = Node(FailingDatabase())
    await node.outbox.recover()
    node.courier.link_up()
    await node.event("one")
    epoch = node.outbox.heads()["events"].epoch
    node.clock.advance(29)
    await node.courier._carry()
    assert [(word["seq"], word.get("unanswered")) for word in node.sent] == [(1, True)]
    assert node.births == 0
    node.clock.advance(1)
    await node.courier._carry()
    assert node.births == 1, "a center may be there whose answer was lost"
    await node.answer(StreamAck(epoch=epoch, head=0))
    assert node.outbox.heads()["events"].epoch == epoch
    assert [(word["seq"], word.get("unanswered")) for word in node.sent[1:]] == [(1, None)]
    node.clock.advance(30)
    await node.courier._carry()
    assert node.births == 1


async def test_a_link_that_comes_anew_while_the_answer_is_noted() -> None:
    database = FailingDatabase()
    node = Node(database)
    await node.outbox.recover()
    node.courier.link_up()
    await node.event("one")
    epoch = node.outbox.heads()["events"].epoch
    node.clock.advance(6)
    await node.courier._carry()
    database.gate.clear()
    answering = asyncio.create_task(node.answer(StreamAck(epoch=epoch, head=0)))
    await asyncio.sleep(0)
    node.courier.link_down()
    node.courier.link_up()
    database.gate.set()
    await answering
    node.clock.advance(6)
    await node.courier._carry()
    assert [(word["seq"], word.get("unanswered")) for word in node.sent] == [(1, True), (1, None)]


async def test_a_disk_that_went_back_begins_a_new_epoch() -> None:
    database = FailingDatabase()
    epoch = await one_life(database, "kept")  # seq 1, unacknowledged when the copy was made

    node = Node(database, seed=2)
    await node.outbox.recover()
    await node.event("new")  # seq 2, that the center has for something else
    node.courier.link_up()
    await node.answer(StreamAck(epoch=epoch, head=4, ranges=((2, 3),)))
    await node.courier._carry()
    words = [(word["seq"], word["data"]) for word in node.sent]
    assert {word["epoch"] for word in node.sent} == {"drawn2"}
    assert words[:2] == [(1, {"word": "kept"}), (2, {"word": "new"})]
    assert words[2][1]["state"] == "rewound"
    lost = [(line.epoch, line.first, line.last, line.reason) for line in node.outbox.losses()]
    assert (epoch, 4, 4, REWOUND) in lost
    assert {line[:3] for line in lost} == {(epoch, 1, 1), (epoch, 4, 4)}
    assert node.births == 1
    assert await node.outbox.until_answered() is not None

    # And it stays so: the next start finds nothing to be asked about.
    third = Node(database, seed=3)
    await third.outbox.recover()
    assert third.outbox.heads()["events"].epoch == "drawn2"


async def test_what_was_given_up_before_the_disk_was_found_out_has_numbers_of_its_own() -> None:
    """The center has other records under those that it had, and would never count it."""
    database = FailingDatabase()
    epoch = await one_life(database, "kept")

    node = Node(database, seed=2, quota=Quota(max_bytes=1 << 20, max_records=4, max_age_s=1e9))
    await node.outbox.recover()
    for number in range(2, 12):
        await node.event(f"{number}")
    gone = RangeSet((line.first, line.last) for line in node.outbox.losses())
    assert gone.within(1, 4) == [(1, 4)]
    node.courier.link_up()
    await node.answer(StreamAck(epoch=epoch, head=4, ranges=((2, 3),)))

    book, again = Book(), []
    head = node.outbox.heads()["events"].head
    for seq in range(1, head + 1):
        record = node.outbox.record("events", seq)
        if record is not None:
            assert book.accept(seq)
            data = orjson.loads(inflate(record.payload))["data"]
            again += [data] if "was" in data else []
    (word,) = again
    assert (word["reason"], word["was"]) == (QUOTA, {"epoch": epoch, "range": [2, 4]})
    first_seq, last_seq = word["range"]
    assert book.declare_lost(first_seq, last_seq) == [(first_seq, last_seq)], "nobody else's"
    assert book.complete()
    assert book.head == head
    lines = [(line.epoch, line.first, line.last, line.reason) for line in node.outbox.losses()]
    assert ("drawn2", first_seq, last_seq, QUOTA) in lines
    await node.outbox.declare_lost("events", [(first_seq, last_seq)], "asked for")
    assert node.outbox.heads()["events"].head == head, "it is on its way already"
    await node.courier._carry()
    assert not any(first_seq <= each["seq"] <= last_seq for each in node.sent)

    await node.outbox.declare_lost("events", [(5, 5)], "missing")
    assert ("drawn2", 5, 5) in [
        (line.epoch, line.first, line.last) for line in node.outbox.losses()
    ]

    # The next start goes on behind them.
    third = Node(database, seed=3)
    await third.outbox.recover()
    assert third.outbox.heads()["events"].head == node.outbox.heads()["events"].head


async def test_a_link_that_comes_anew_while_an_epoch_ends() -> None:
    """What the center answered on the one before is no answer any more, and who had to wait for the new
    epoch, which did not begin, waits for the next."""
    database = FailingDatabase()
    node = Node(database)
    await node.outbox.recover()
    node.courier.link_up()
    epoch = node.outbox.heads()["events"].epoch
    ahead = StreamAck(epoch=epoch, head=9, ranges=((1, 9),))
    database.gate.clear()
    writing = asyncio.create_task(node.event("one"))
    await asyncio.sleep(0)

    async def answers() -> None:
        """One at once after the other, as they wait in a queue; the disk is slow again."""
        await node.answer(ahead)
        database.gate.clear()
        await node.answer(ahead)

    answering = asyncio.create_task(answers())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(node.event("two"))
    await asyncio.sleep(0)
    node.courier.link_down()
    node.courier.link_up()
    database.gate.set()
    await writing
    await eventually(lambda: not database.gate.is_set())
    for _ in range(10):  # whoever was woken meanwhile goes as far as it can
        await asyncio.sleep(0)
    database.gate.set()
    async with asyncio.timeout(30):
        await asyncio.gather(waiting, answering)
    assert node.outbox.heads()["events"].epoch == "drawn1"
    await node.courier._carry()
    words = [word["data"].get("word") for word in node.sent]
    assert sorted(filter(None, words)) == ["one", "two"]
    assert {word["epoch"] for word in node.sent} == {"drawn1"}
    assert sorted(word["seq"] for word in node.sent) == list(range(1, len(words) + 1))
    assert node.outbox.outage() is None


async def test_an_agent_that_was_never_answered_leaves_its_doubt_to_the_next_one() -> None:
    database = FailingDatabase()
    first = Node(database)
    await first.outbox.recover()
    epoch = first.outbox.heads()["events"].epoch
    await first.event("one")
    node = Node(database, seed=2)
    await node.outbox.recover()
    assert node.outbox.heads()["events"].head == 0
    node.courier.link_up()
    await node.answer(StreamAck(epoch=epoch, head=3, ranges=((2, 3),)))
    assert node.outbox.heads()["events"].epoch == "drawn2"
    assert node.sent[0]["data"] == {"word": "one"}


async def test_a_disk_that_cannot_be_written_waits_with_the_new_epoch() -> None:
    database = FailingDatabase()
    node = Node(database)
    await node.outbox.recover()
    node.courier.link_up()
    await node.event("one")
    epoch = node.outbox.heads()["events"].epoch
    database.commits_fail = True
    await node.answer(StreamAck(epoch=epoch, head=9, ranges=((1, 9),)))
    assert (node.sent, node.outbox.heads()["events"].epoch) == ([], epoch)
    database.commits_fail = False
    await node.answer(StreamAck(epoch=epoch, head=9, ranges=((1, 9),)))
    await eventually(lambda: node.outbox.heads()["events"].epoch == "drawn1")
    assert node.sent[0]["data"] == {"word": "one"}


async def test_a_kill_after_the_answer_is_no_journey_in_time() -> None:
    database = FailingDatabase(MemoryDatabase(seeded_ids()))
    node = Node(database)
    await node.outbox.recover()
    node.courier.link_up()
    epoch = node.outbox.heads()["events"].epoch
    await node.answer(StreamAck(epoch=epoch, head=0))
    await node.event("one")
    again = Node(database, seed=2)
    await again.outbox.recover()
    again.courier.link_up()
    await again.answer(StreamAck(epoch=epoch, head=1, ranges=((1, 1),)))
    assert again.outbox.heads()["events"] == node.outbox.heads()["events"].__class__(
        epoch=epoch, head=1, records=0
    )


async def test_a_kill_while_the_disk_could_not_note_the_answer_is_no_journey_in_time() -> None:
    disk = MemoryDatabase(seeded_ids())
    epoch = await one_life(FailingDatabase(disk), "one")

    failing = FailingDatabase(disk)
    node = Node(failing, seed=2)
    await node.outbox.recover()
    await node.event("two")
    node.courier.link_up()
    failing.commits_fail = True
    await node.answer(StreamAck(epoch=epoch, head=0))
    assert [word["seq"] for word in node.sent] == [1], "what the doubt covers travels all the same"
    assert node.outbox.heads()["events"].head == 1
    assert node.outbox.queues()["events"].head == 1

    again = Node(FailingDatabase(disk), seed=3)
    await again.outbox.recover()
    again.courier.link_up()
    await again.answer(StreamAck(epoch=epoch, head=1, ranges=((1, 1),)))
    assert [(word["epoch"], word["seq"]) for word in again.sent] == [(epoch, 2)]


async def test_what_was_held_back_goes_once_the_disk_has_noted_the_answer() -> None:
    failing = FailingDatabase(MemoryDatabase(seeded_ids()))
    node = Node(failing)
    await node.outbox.recover()
    await node.event("one")
    node.courier.link_up()
    failing.commits_fail = True
    epoch = node.outbox.heads()["events"].epoch
    await node.answer(StreamAck(epoch=epoch, head=0))
    assert node.sent == []
    failing.commits_fail, node.woken = False, 0
    await eventually(lambda: not failing.unanswered())
    await eventually(lambda: node.outbox.heads()["events"].head == 1)
    await node.courier._carry()
    assert [(word["epoch"], word["seq"]) for word in node.sent] == [(epoch, 1)]
    assert node.woken > 0


async def test_a_disk_that_never_held_the_doubt_holds_nothing_back() -> None:
    disk = MemoryDatabase(seeded_ids())
    epoch = await one_life(FailingDatabase(disk), "one")
    failing = FailingDatabase(disk)
    failing.commits_fail = True
    node = Node(failing, seed=2)
    await node.outbox.recover()
    node.courier.link_up()
    await node.answer(StreamAck(epoch=epoch, head=0))
    assert [word["seq"] for word in node.sent] == [1]
    assert node.outbox.heads()["events"].head == 1
