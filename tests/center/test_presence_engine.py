"""Whether a node is online: a late word never wins, silence does, a heartbeat revives."""

import pytest
from farshore_center.nodes.presence import Standing, beat, born, heard, passed, said
from hypothesis import given
from hypothesis import strategies as st

ON = Standing(online=True, boot="b", conn=5, heartbeat_s=10, deadline_s=130)
OFF = Standing(online=False, boot="b", conn=5, heartbeat_s=10)


@pytest.mark.parametrize(
    ("standing", "online", "boot", "conn", "change"),
    [
        pytest.param(ON, False, "b", 5, "offline", id="the will of the current connection"),
        pytest.param(ON, False, "b", 4, None, id="a late will of an older connection"),
        pytest.param(ON, False, "a", 9, None, id="a late will of another boot"),
        pytest.param(ON, False, "b", 6, "offline", id="the death of a connection not heard of"),
        pytest.param(OFF, False, "b", 6, None, id="the same of one that is offline already"),
        pytest.param(OFF, True, "b", 5, "online", id="its own word repairs a false offline"),
        pytest.param(OFF, True, "b", 6, "online", id="a newer connection"),
        pytest.param(OFF, True, "b", 4, None, id="a late online of an older connection"),
        pytest.param(OFF, True, "a", 9, None, id="a retained online of another boot"),
        pytest.param(ON, True, "b", 5, None, id="nothing new"),
        pytest.param(Standing(), True, "b", 1, "online", id="the first that is heard of it"),
        pytest.param(Standing(), False, "b", 1, None, id="a death of who was never heard of"),
    ],
)
def test_presence_words(
    standing: Standing, online: bool, boot: str, conn: int, change: str | None
) -> None:
    new, got = said(standing, online=online, boot=boot, conn=conn, now_s=100)
    assert got == change
    assert new.online == (standing.online if change is None else change == "online")


def test_a_birth_of_another_boot_is_believed_whatever_its_conn() -> None:
    new, change = born(OFF, boot="c", conn=1, heartbeat_s=30, now_s=100)
    assert (new.boot, new.conn, new.deadline_s, change) == ("c", 1, 190, "online")


def test_a_birth_of_an_older_connection_is_not() -> None:
    assert born(ON, boot="b", conn=4, heartbeat_s=30, now_s=100) == (ON, None)


def test_silence_makes_offline_at_the_deadline_and_a_heartbeat_revives() -> None:
    assert passed(ON, now_s=129.9) == (ON, None)
    fallen, change = passed(ON, now_s=130)
    assert (fallen.online, change) == (False, "offline")
    assert passed(fallen, now_s=500) == (fallen, None)
    back, change = beat(fallen, boot="b", conn=5, now_s=200)
    assert (back.online, back.deadline_s, change) == (True, 230, "online")
    assert beat(fallen, boot="a", conn=9, now_s=200) == (fallen, None)
    assert beat(fallen, boot="b", conn=4, now_s=200) == (fallen, None)


def test_any_message_keeps_alive_but_does_not_revive() -> None:
    assert heard(ON, now_s=300).deadline_s == 330
    assert heard(OFF, now_s=300) == OFF


def test_a_quick_heartbeat_gets_the_least_patience() -> None:
    assert Standing(heartbeat_s=1).patience_s() == 10


BOOTS = st.sampled_from(["b1", "b2", "b3"])
CONNS = st.integers(1, 4)
WORD = st.tuples(st.sampled_from(["birth", "on", "off", "beat"]), BOOTS, CONNS)


@given(words=st.lists(WORD, max_size=20), late=st.tuples(BOOTS, CONNS))
def test_a_late_death_never_makes_offline(
    words: list[tuple[str, str, int]], late: tuple[str, int]
) -> None:
    standing = Standing()
    for kind, boot, conn in words:
        if kind == "birth":
            standing, _ = born(standing, boot=boot, conn=conn, heartbeat_s=10, now_s=0)
        elif kind == "beat":
            standing, _ = beat(standing, boot=boot, conn=conn, now_s=0)
        else:
            standing, _ = said(standing, online=kind == "on", boot=boot, conn=conn, now_s=0)
    boot, conn = late
    after, change = said(standing, online=False, boot=boot, conn=conn, now_s=1)
    if boot != standing.boot or conn < standing.conn:
        assert (after, change) == (standing, None)
    else:
        assert not after.online
    fallen, _ = passed(standing, now_s=standing.deadline_s)
    assert not fallen.online
