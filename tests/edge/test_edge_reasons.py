"""Why a node can't send what it is asked for; and which center it has obeyed."""

from collections.abc import Sequence

import pytest
from edge.edge_bench import FailingDatabase
from farshore_edge.database import Loss
from farshore_edge.outbox import BufferSettings, Outbox
from farshore_edge.outbox.envelope import Timing
from farshore_edge.outbox.reasons import LOST_BY_THE_CENTER, NOT_KEPT, reasons
from farshore_edge.presence import CenterMemory
from farshore_protocol.stream import Sender


def line(first: int, last: int, reason: str = "quota", epoch: str = "e1") -> Loss:
    return Loss(stream="metrics", epoch=epoch, first=first, last=last, reason=reason, at_ms=0)


@pytest.mark.parametrize(
    ("ranges", "ledger", "because", "expected"),
    [
        pytest.param([], [line(1, 9)], None, {}, id="nothing is asked for"),
        pytest.param([(1, 5)], [], None, {NOT_KEPT: [(1, 5)]}, id="no reason is known"),
        pytest.param(
            [(1, 5)], [], "restored", {LOST_BY_THE_CENTER: [(1, 5)]}, id="the center was restored"
        ),
        pytest.param([(1, 5)], [], "news", {NOT_KEPT: [(1, 5)]}, id="a word of a later protocol"),
        pytest.param(
            [(1, 9)],
            [line(3, 4), line(8, 20), line(1, 9, epoch="e0")],
            "restored",
            {"quota": [(3, 4), (8, 9)], LOST_BY_THE_CENTER: [(1, 2), (5, 7)]},
            id="its own ledger knows better",
        ),
        pytest.param(
            [(1, 9)],
            [line(1, 4, LOST_BY_THE_CENTER)],
            "restored",
            {LOST_BY_THE_CENTER: [(1, 9)]},
            id="a second restore",
        ),
    ],
)
def test_reasons(
    ranges: Sequence[tuple[int, int]],
    ledger: Sequence[Loss],
    because: str | None,
    expected: dict[str, list[tuple[int, int]]],
) -> None:
    assert dict(reasons("metrics", "e1", ranges, ledger, because=because)) == expected


async def test_the_newest_mark_is_kept_and_written_once_in_a_while() -> None:
    disk, now_s = FailingDatabase(), [0.0]
    memory = CenterMemory(disk, now_s=lambda: now_s[0])
    assert disk.center() is None
    await memory.obeyed(("db", "one", 1), answer=False)
    assert disk.center() == ("db", "one", 1)
    await memory.obeyed(("db", "one", 5), answer=False)
    await memory.obeyed(("db", "one", 4), answer=False)  # a late word
    assert [memory.mark, disk.center()] == [("db", "one", 5), ("db", "one", 1)]
    now_s[0] = 61.0
    disk.commits_fail = True
    await memory.obeyed(("db", "one", 6), answer=False)
    disk.commits_fail = False
    await memory.write()
    assert disk.center() == ("db", "one", 6)
    await memory.obeyed(("db", "two", 2), answer=False)
    assert memory.mark == ("db", "one", 6), (
        "the evidence stays until a birth that holds it is answered"
    )
    await memory.obeyed(("db", "two", 2), answer=True)  # a restored center counts from further back
    assert memory.mark == ("db", "two", 2)
    assert CenterMemory(disk, now_s=lambda: 0.0).mark == ("db", "one", 6)


async def test_what_is_deleted_because_of_a_mark_is_deleted_with_it() -> None:
    """A power loss between them would leave a restored center without the only evidence."""
    disk, mark = FailingDatabase(), ("db", "one", 7)
    sender = Sender()
    outbox = Outbox(
        disk,
        sender,
        now=lambda: Timing(boot="b", up_ms=1, ts=1, synced=False),
        max_bytes=1 << 20,
        woken=lambda: None,
        buffer=BufferSettings(settle_s=0.0),
        obeyed=lambda: mark,
    )
    seq = await outbox.append("events", "evt/x", {"data": {}})
    assert disk.center() is None
    await outbox.acknowledged("events", outbox.heads()["events"].epoch, [(seq, seq)])
    assert (disk.records("events", [seq]), disk.center()) == ({}, mark)
