"""What the model of a power loss allows, and what it never does."""

import random

import pytest
from farshore_sim.faults.crash_model import PAGE_BYTES, Disk, Survival
from farshore_sim.faults.events import (
    Create,
    Event,
    Rename,
    Sync,
    SyncFailed,
    SyncFolder,
    Truncate,
    Unlink,
    Write,
)
from hypothesis import given
from hypothesis import strategies as st

UNIT = 4
NAME = "f"


def followed(*events: Event, initial: dict[str, bytes] | None = None) -> Disk:
    disk = Disk({NAME: b""} if initial is None else initial)
    for event in events:
        disk.follow(event)
    return disk


def write(offset: int, data: bytes, name: str = NAME) -> Write:
    return Write(name=name, offset=offset, data=data)


def found(disk: Disk, survival: Survival, seeds: int = 300) -> set[bytes | None]:
    return {
        disk.after_power_loss(random.Random(seed), survival, UNIT).get(NAME)
        for seed in range(seeds)
    }


changes = st.one_of(
    st.builds(write, st.integers(0, 20), st.binary(min_size=1, max_size=9)),
    st.builds(lambda size: Truncate(name=NAME, size=size), st.integers(0, 24)),
)


def content_of(events: list[Write | Truncate]) -> bytes:
    """What a process would read: the plain meaning of the calls."""
    content = b""
    for event in events:
        if isinstance(event, Truncate):
            content = content[: event.size].ljust(event.size, b"\0")
        else:
            start, end = event.offset, event.offset + len(event.data)
            content = content.ljust(start, b"\0")[:start] + event.data + content[end:]
    return content


@given(st.lists(changes, max_size=8), st.lists(changes, max_size=8), st.integers(0, 2**32))
def test_each_unit_on_the_disk_is_one_that_was_there_since_the_sync(
    before: list[Write | Truncate], after: list[Write | Truncate], seed: int
) -> None:
    synced = Sync(name=NAME, since=len(before))
    disk = followed(*before, synced, *after)
    history = [content_of([*before, *after[:n]]) for n in range(len(after) + 1)]
    allowed = {c[at : at + UNIT].ljust(UNIT, b"\0") for c in history for at in range(0, 48, UNIT)}
    for survival in Survival:
        held = disk.after_power_loss(random.Random(seed), survival, UNIT)[NAME]
        assert len(held) <= max(map(len, history))
        if not any(isinstance(change, Truncate) for change in after):
            assert len(held) >= len(history[0])
            for at in range(0, len(held), UNIT):
                now = held[at : at + UNIT].ljust(UNIT, b"\0")
                assert now in {c[at : at + UNIT].ljust(UNIT, b"\0") for c in history} | {bytes(4)}
        assert {held[at : at + UNIT].ljust(UNIT, b"\0") for at in range(0, len(held), UNIT)} <= (
            allowed | {held[at : at + UNIT].ljust(UNIT, b"\0") for at in _edges(after, held)}
        )
    assert disk.after_power_loss(random.Random(seed), Survival.NOTHING, UNIT)[NAME] == history[0]
    whole = disk.after_power_loss(random.Random(seed), Survival.EVERYTHING, UNIT)[NAME]
    assert whole == history[-1]


def _edges(after: list[Write | Truncate], held: bytes) -> list[int]:
    """Units that a truncation cuts in two hold the older half of what it left."""
    cuts = {c.size // UNIT * UNIT for c in after if isinstance(c, Truncate)}
    return [at for at in cuts if at < len(held)]


def test_a_later_write_may_be_there_without_an_earlier_one() -> None:
    disk = followed(write(0, b"aaaa"), write(4, b"bbbb"))
    assert b"\0\0\0\0bbbb" in found(disk, Survival.SUBSET)


def test_a_write_may_be_torn_at_a_unit_but_never_inside_of_one() -> None:
    disk = followed(write(0, b"aaaabbbb"), Sync(name=NAME, since=1), write(0, b"AAAABBBB"))
    torn = found(disk, Survival.TORN)
    assert torn == {b"aaaabbbb", b"AAAAbbbb", b"aaaaBBBB", b"AAAABBBB"}
    assert found(disk, Survival.SUBSET) == {b"aaaabbbb", b"AAAABBBB"}


def test_a_file_may_have_grown_without_its_data() -> None:
    assert bytes(8) in found(followed(write(0, b"aaaabbbb")), Survival.SUBSET)


def test_a_sync_covers_what_was_written_before_it_was_called_and_nothing_else() -> None:
    disk = followed(write(0, b"aaaa"), write(4, b"bbbb"), Sync(name=NAME, since=1))
    assert found(disk, Survival.NOTHING) == {b"aaaa"}
    other = followed(
        write(0, b"aaaa"),
        write(0, b"x", "g"),
        Sync(name="g", since=2),
        initial={NAME: b"", "g": b""},
    )
    assert found(other, Survival.NOTHING) == {b""}


def test_a_sync_that_failed_is_not_made_good_by_a_later_one() -> None:
    page = PAGE_BYTES
    failed: list[Event] = [write(0, b"aaaa"), write(page, b"bbbb"), SyncFailed(name=NAME, since=2)]
    later = followed(*failed, Sync(name=NAME, since=3))
    assert {c[:4] for c in found(later, Survival.SUBSET) if c} == {b"aaaa", bytes(4)}
    again = followed(*failed, write(1, b"A"), Sync(name=NAME, since=4))
    left = found(again, Survival.SUBSET)
    assert {c[:4] for c in left if c} == {b"aAaa"}, "a page that is written again is covered whole"
    assert {c[page : page + 4] for c in left if c} == {b"bbbb", bytes(4)}


def test_what_is_written_behind_a_truncation_is_not_there_without_it() -> None:
    disk = followed(
        write(0, b"aaaabbbb"),
        Sync(name=NAME, since=1),
        Truncate(name=NAME, size=4),
        write(4, b"CCCC"),
    )
    assert found(disk, Survival.SUBSET) == {b"aaaabbbb", b"aaaa", b"aaaaCCCC", b"aaaa\0\0\0\0"}


@pytest.mark.parametrize(
    ("events", "possible"),
    [
        pytest.param([Create(name=NAME)], {b"", None}, id="a name needs a sync of the folder"),
        pytest.param(
            [Create(name=NAME), write(0, b"a"), Sync(name=NAME, since=2)],
            {b"a", None},
            id="a sync of the file is none of its name",
        ),
        pytest.param([Create(name=NAME), SyncFolder(since=1)], {b""}, id="a synced name stays"),
        pytest.param(
            [Create(name=NAME), SyncFolder(since=1), Unlink(name=NAME)],
            {b"", None},
            id="what is deleted may come back",
        ),
        pytest.param(
            [
                Create(name="g"),
                write(0, b"new", "g"),
                SyncFolder(since=2),
                Create(name=NAME),
                SyncFolder(since=4),
                Rename(name="g", to=NAME),
            ],
            {b"", b"new"},
            id="a rename without a sync before it may leave an empty file",
        ),
    ],
)
def test_names_come_and_go_with_a_sync_of_the_folder(
    events: list[Event], possible: set[bytes | None]
) -> None:
    disk = followed(*events, initial={})
    survivals = (Survival.NOTHING, Survival.EVERYTHING, Survival.SUBSET)
    held = set().union(*(found(disk, survival) for survival in survivals))
    assert {None if content is None else content.rstrip(b"\0") for content in held} == possible
