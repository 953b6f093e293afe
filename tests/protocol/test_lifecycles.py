"""Lifecycles: a pair that is not in the table is refused; the documentation is the table."""

import importlib
import itertools
import pkgutil
from typing import get_args

import farshore_protocol
import pytest
from farshore_protocol.commands import NODE_COMMAND, TARGET, reachable
from farshore_protocol.commands.lifecycle import FINAL
from farshore_protocol.commands.messages import NodeState
from farshore_protocol.errors import IllegalTransitionError
from farshore_protocol.lifecycle import Lifecycle
from protocol.lifecycle_docs import LIFECYCLES, PAGE, page

TABLES = [lifecycle for lifecycle, _ in LIFECYCLES]
TABLE = pytest.mark.parametrize("lifecycle", TABLES, ids=lambda lifecycle: lifecycle.noun)


@TABLE
def test_every_pair_is_either_in_the_table_or_refused_by_name(lifecycle: Lifecycle) -> None:
    for current, new in itertools.product(lifecycle.states, repeat=2):
        follows = lifecycle.table[current]
        assert lifecycle.may(current, new) == (new in follows)
        if new in follows:
            assert lifecycle.check(current, new) == new
            continue
        with pytest.raises(IllegalTransitionError) as caught:
            lifecycle.check(current, new)
        allowed = ", ".join(sorted(follows)) or "nothing: it is final"
        assert str(caught.value).endswith(
            f"{current} → {new} is not allowed; after {current}: {allowed}"
        )


@TABLE
def test_every_state_is_reached_and_every_way_can_end(lifecycle: Lifecycle) -> None:
    for state in lifecycle.states:
        assert state == lifecycle.initial or reachable(lifecycle, lifecycle.initial, state)
        # where nothing is final (an instance can be started again) it must come back to its beginning
        ends = [s for s in lifecycle.states if lifecycle.final(s)] or [lifecycle.initial]
        assert state in ends or any(reachable(lifecycle, state, end) for end in ends)


@TABLE
def test_reachable_is_any_number_of_steps(lifecycle: Lifecycle) -> None:
    steps = {s: set(lifecycle.table[s]) for s in lifecycle.states}
    for middle, start, end in itertools.product(lifecycle.states, repeat=3):
        if middle in steps[start] and end in steps[middle]:
            steps[start].add(end)
    for start, end in itertools.product(lifecycle.states, repeat=2):
        assert reachable(lifecycle, start, end) == (end in steps[start])


def test_an_unknown_state_is_refused_and_called_so() -> None:
    for current, new in (("asleep", "running"), ("running", "asleep")):
        with pytest.raises(IllegalTransitionError, match="asleep"):
            NODE_COMMAND.check(current, new)
    with pytest.raises(IllegalTransitionError, match="there is no such state"):
        NODE_COMMAND.check("asleep", "running")


@pytest.mark.parametrize(
    ("initial", "table"),
    [("a", {"a": frozenset({"b"})}), ("z", {"a": frozenset[str]()})],
    ids=["a state without a row", "an initial state without a row"],
)
def test_a_table_with_a_hole_is_refused(initial: str, table: dict[str, frozenset[str]]) -> None:
    with pytest.raises(ValueError, match="without a row"):
        Lifecycle(noun="x", initial=initial, table=table)


def test_the_words_of_the_node_are_the_same_everywhere() -> None:
    words = set(NODE_COMMAND.states)
    assert set(get_args(NodeState)) == words, "what travels is what is in the table"
    assert set(TARGET.states) == words | {"queued", "sent"}
    for state in words - {"expired"}:
        assert TARGET.table[state] == NODE_COMMAND.table[state]


def test_nothing_more_is_awaited_exactly_where_it_ends_or_only_news_overrule() -> None:
    ends = {state for state in NODE_COMMAND.states if NODE_COMMAND.final(state)}
    assert ends | {"interrupted"} == FINAL
    for state in TARGET.states:
        assert TARGET.final(state) == (state in FINAL - {"interrupted", "expired"})
    late_answers = set(NODE_COMMAND.states) - {"expired"}
    assert late_answers <= TARGET.table["expired"], "a late answer overrules what was assumed"


def test_the_page_is_the_tables() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "run .venv/bin/python tests/protocol/lifecycle_docs.py"
    )


def test_every_lifecycle_of_the_protocol_is_on_the_page() -> None:
    found = {
        value.noun
        for module in pkgutil.walk_packages(farshore_protocol.__path__, "farshore_protocol.")
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(value, Lifecycle)
    }
    assert found <= {lifecycle.noun for lifecycle in TABLES}
