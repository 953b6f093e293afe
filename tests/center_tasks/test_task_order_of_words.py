"""What a node says of a grant may come late, and its wall clock may be wrong: the last word counts."""

from itertools import pairwise
from typing import Any

from farshore_center.tasks.hearing import Moment, hear, is_older
from farshore_center.tasks.records import Granted, Instance
from farshore_protocol.tasks import FINAL, TaskEvent
from hypothesis import given
from hypothesis import strategies as st

INSTANCE = Instance(task="web", instance=0, state="active", epoch=10)
GRANT = Granted(task="web", instance=0, epoch=10, node="n1")
STATES = ("preparing", "starting", "running", "unhealthy", "backing_off", "stopping")

Said = tuple[Moment, str]


def last_heard(words: list[Said], boot: str | None) -> Granted:
    grant = GRANT
    for moment, state in words:
        word = TaskEvent(
            task="web",
            instance=0,
            attempt=1,
            epoch=10,
            state=state,  # type: ignore[arg-type] # one of the table's
            at_ms=0,
        )
        grant = hear(INSTANCE, grant, word, moment, boot=boot, batch=False).grant
    return grant


@st.composite
def boots(draw: st.DrawFn) -> tuple[list[Said], list[Said]]:
    """The words of two boots, each with whatever wall clock, in their order; and as they come."""
    made: list[Said] = []
    for boot in ("first", "second"):
        ups = sorted(draw(st.sets(st.integers(0, 10_000), min_size=1, max_size=4)))
        made += [
            (Moment(draw(st.integers(0, 10_000)), boot, up), draw(st.sampled_from(STATES)))
            for up in ups
        ]
    return made, draw(st.permutations(made))


@given(boots())
def test_the_last_word_of_the_current_boot_stands_in_whatever_order_they_come(
    said: tuple[list[Said], list[Said]],
) -> None:
    in_order, as_they_come = said
    moment, state = in_order[-1]
    grant = last_heard(as_they_come, "second")
    assert (grant.state, grant.heard_boot, grant.heard_up_ms) == (state, *moment[1:])
    assert grant.heard_ms == moment.at_ms


@given(boots(), st.sampled_from(sorted(FINAL - {"rejected"})))
def test_an_end_is_believed_however_late_it_comes(
    said: tuple[list[Said], list[Said]], state: Any
) -> None:
    """And nothing goes on after it."""
    late = (Moment(0, "first", 0), state)
    assert last_heard([*said[1], late], "second").state == state
    assert last_heard([late, *said[1]], "second").state == state


def test_between_boots_that_are_over_the_wall_clock_decides() -> None:
    early, late = Moment(1000, "a", 50_000), Moment(2000, "b", 5)
    assert not is_older(late, early, "c")
    assert is_older(early, late, None)
    assert not is_older(early, late, "a"), "unless one of them is the current one"


@given(st.lists(st.builds(Moment, st.integers(0, 9), st.just("b"), st.integers(0, 9)), min_size=2))
def test_words_of_one_boot_have_one_order(moments: list[Moment]) -> None:
    ordered = sorted(moments, key=lambda moment: (moment.up_ms, moment.at_ms))
    assert not any(is_older(later, earlier, None) for earlier, later in pairwise(ordered))
