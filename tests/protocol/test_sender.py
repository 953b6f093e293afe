"""The node's sending side, case by case; the whole conversation is in test_conversation.py."""

import pytest
from farshore_protocol.stream import Sender, SenderSettings
from hypothesis import given
from hypothesis import strategies as st


def sender(kept: int = 0, stream: str = "metrics", **settings: float) -> Sender:
    """Connected, with ``kept`` records of backlog."""
    made = Sender(SenderSettings(**settings))  # type: ignore[arg-type]  # window is given as an int
    for each in ("results", "events", "reports", "metrics"):
        mine = each == stream and kept
        made.open(each, epoch="e", kept=[(1, kept)] if mine else [], head=kept if mine else 0)
    made.link_up()
    return made


def picked(made: Sender, now_s: float = 0.0) -> list[tuple[str, int]]:
    return [(pick.stream, pick.seq) for pick in made.next(now_s)]


def test_nothing_goes_out_without_a_connection_and_nothing_has_a_deadline() -> None:
    made = sender(5)
    assert picked(made)
    assert made.next_timeout_s() == 15.0
    made.link_down()
    assert made.next(100.0) == []
    assert made.next_timeout_s() is None
    assert not made.idle()


def test_urgent_streams_first_then_the_oldest_but_of_live_metrics_the_newest() -> None:
    made = sender(window=8)
    for stream in ("metrics", "reports", "events", "results"):
        for seq in (1, 2):
            made.appended(stream, seq)
    assert picked(made) == [
        ("results", 1),
        ("results", 2),
        ("events", 1),
        ("events", 2),
        ("reports", 1),
        ("reports", 2),
        ("metrics", 2),
        ("metrics", 1),
    ]


def test_live_goes_before_backlog_and_backlog_keeps_to_its_share() -> None:
    made = sender(100, window=10, backlog_share=0.3)
    made.appended("metrics", 101)
    picks = made.next(0.0)
    assert [(p.seq, p.backlog) for p in picks] == [(101, False), (1, True), (2, True), (3, True)]
    assert made.next(0.0) == []


@given(st.integers(2, 40), st.floats(0, 1), st.integers(1, 3))
def test_neither_live_nor_backlog_starves_the_other(window: int, share: float, rounds: int) -> None:
    """Both have more than enough to send, and what goes out is acknowledged each round."""
    made = sender(10_000, window=window, backlog_share=share)
    head = 10_000
    for _ in range(rounds):
        for _ in range(window):
            head += 1
            made.appended("metrics", head)
        picks = made.next(0.0)
        assert len(picks) == window
        backlog = sum(pick.backlog for pick in picks)
        assert 1 <= backlog <= max(1, int(window * share))
        assert window - backlog >= 1
        for pick in picks:
            made.acknowledged("metrics", "e", [(pick.seq, pick.seq)])


def test_a_backlog_that_nobody_acknowledges_leaves_room_for_live_records() -> None:
    made = sender(100, window=4, backlog_share=1.0)
    assert len(made.next(0.0)) == 4
    made.acknowledged("metrics", "e", [(1, 1)])
    made.appended("events", 1)
    assert picked(made, 1.0) == [("events", 1)]


def test_a_window_of_one_serves_live_first_and_the_backlog_after() -> None:
    made = sender(2, window=1)
    made.appended("metrics", 3)
    assert picked(made) == [("metrics", 3)]
    made.acknowledged("metrics", "e", [(3, 3)])
    assert picked(made) == [("metrics", 1)]


def test_what_is_not_acknowledged_goes_again_after_a_patience_that_doubles_to_a_limit() -> None:
    made = sender(1, ack_timeout_s=10, ack_timeout_max_s=35)
    now_s, waits = 0.0, []
    for _ in range(5):
        assert picked(made, now_s) == [("metrics", 1)]
        deadline = made.next_timeout_s()
        assert deadline is not None
        waits.append(deadline - now_s)
        assert made.next(deadline - 0.001) == []
        now_s = deadline
    assert waits == [10, 20, 35, 35, 35]


def test_a_center_that_is_silent_for_weeks_is_borne() -> None:
    made = sender(1)
    now_s = 0.0
    for _ in range(5000):
        assert picked(made, now_s) == [("metrics", 1)]
        now_s = made.next_timeout_s() or 0.0
    assert now_s > 4000 * 120.0


def test_a_new_connection_sends_all_again_as_backlog_and_with_fresh_patience() -> None:
    made = sender(window=4, backlog_share=0.5)
    for seq in (1, 2, 3):
        made.appended("events", seq)
    assert not any(pick.backlog for pick in made.next(0.0))
    made.next(15.0)
    made.link_down()
    made.link_up()
    picks = made.next(16.0)
    assert [(p.seq, p.backlog) for p in picks] == [(1, True), (2, True)]
    assert made.next_timeout_s() == 31.0


def test_an_acknowledgement_settles_only_what_is_kept_of_this_epoch() -> None:
    made = sender(10)
    assert made.acknowledged("metrics", "another", [(1, 10)]) == []
    assert made.acknowledged("nothing", "e", [(1, 10)]) == []
    assert made.acknowledged("metrics", "e", [(3, 4), (4, 6), (9, 2), (50, 60)]) == [(3, 4), (5, 6)]
    assert made.acknowledged("metrics", "e", [(1, 2**53 - 1)]) == [(1, 2), (7, 10)]
    assert made.idle()
    assert made.unsent("metrics") == 0


def test_asked_again_sends_what_is_kept_and_names_what_is_not() -> None:
    made = sender(10)
    made.acknowledged("metrics", "e", [(1, 4)])
    made.dropped("metrics", 7, 8)
    made.next(0.0)
    assert made.next(0.0) == []
    assert made.asked_again("metrics", "another", [(1, 10)]) == []
    assert made.asked_again("metrics", "e", [(3, 9), (11, 99), (9, 8)]) == [(3, 4), (7, 8)]
    assert picked(made) == [("metrics", seq) for seq in (5, 6, 9)]


def test_what_is_held_back_waits_live_and_backlog_alike_until_it_is_let_go() -> None:
    made = sender(3)
    made.appended("metrics", 4)
    made.hold("metrics", above=2)
    made.appended("events", 1)
    assert picked(made) == [("events", 1), ("metrics", 1), ("metrics", 2)]
    made.acknowledged("metrics", "e", [(1, 2)])
    made.link_up()
    assert picked(made) == [("events", 1)]
    assert made.unsent("metrics") == 2
    made.hold("metrics", above=None)
    assert picked(made) == [("metrics", 3), ("metrics", 4)]


def test_a_new_epoch_begins_anew() -> None:
    made = sender(5)
    made.next(0.0)
    made.open("metrics", epoch="f", kept=[], head=0)
    assert made.acknowledged("metrics", "e", [(1, 5)]) == []
    made.appended("metrics", 1)
    assert picked(made) == [("metrics", 1)]


def test_what_was_acknowledged_while_it_waited_to_go_again_is_forgotten_altogether() -> None:
    made = sender(1, window=1)
    for round_s in (0.0, 15.0):
        made.next(round_s)
    made.appended("metrics", 2)
    assert picked(made, 45.0) == [("metrics", 2)], "live first: 1 has timed out, and waits"
    made.acknowledged("metrics", "e", [(1, 1)])
    assert made.asked_again("metrics", "e", [(1, 1)]) == [(1, 1)]
    made.appended("metrics", 1)  # an outbox never does it; nothing of the first life may show
    made.acknowledged("metrics", "e", [(2, 2)])
    assert picked(made, 50.0) == [("metrics", 1)]
    assert made.next_timeout_s() == 65.0


def test_nothing_costs_by_the_number_of_records_kept() -> None:
    """With as many records as this, anything that walks through them would never end."""
    many = 2**52
    made = sender(many)
    assert len(made.next(0.0)) == 9
    assert made.unsent("metrics") == many
    made.appended("metrics", many + 1)
    assert picked(made, 1.0) == [("metrics", many + 1)]
    assert made.asked_again("metrics", "e", [(1, many)]) == []
    assert made.acknowledged("metrics", "e", [(1, many // 2)]) == [(1, many // 2)]
    made.dropped("metrics", many // 2 + 1, many - 5)
    assert made.unsent("metrics") == 6
    made.link_up()
    assert len(made.next(2.0)) == 6


@pytest.mark.parametrize(
    ("settings", "key"),
    [({"window": 0}, "window"), ({"backlog_share": 1.5}, "backlog_share")],
)
def test_settings_that_make_no_sense_are_refused_by_name(
    settings: dict[str, float], key: str
) -> None:
    with pytest.raises(ValueError, match=key):
        SenderSettings(**settings)  # type: ignore[arg-type]  # the wrong values are the case
