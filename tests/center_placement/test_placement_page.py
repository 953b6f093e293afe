"""docs/placement.md: its example prints what stands there, and it names everything that there is."""

import contextlib
import io
import re
from pathlib import Path
from typing import get_args

from farshore_center.placement import POLICIES
from farshore_center.placement.choose import DEFAULT
from farshore_center.placement.decisions import Origin
from farshore_center.placement.filters import FILTERS
from farshore_center.placement.preempt import DISTANCE, SEARCHED
from farshore_center.placement.rebalance import BRAKES
from farshore_center.placement.scores import ROW_SCORES
from farshore_center.placement.task_scores import TASK_SCORES

PAGE = (Path(__file__).parents[2] / "docs" / "placement.md").read_text()


def test_the_example_prints_what_the_page_says() -> None:
    found = re.search(r"```python\n(.*?)```.*?```text\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(found[1], {})  # noqa: S102 # our own page
    assert printed.getvalue() == found[2]


def test_every_filter_score_policy_and_origin_stands_in_a_table() -> None:
    rows = "\n".join(line for line in PAGE.splitlines() if line.startswith("| `"))
    for name in (*FILTERS, *ROW_SCORES, *TASK_SCORES, *POLICIES, *get_args(Origin)):
        assert f"`{name}`" in rows, name


def test_the_filters_stand_in_their_order() -> None:
    table = PAGE.partition("| filter |")[2].partition("\n\n")[0]
    named = re.findall(r"`(\w+)`", "\n".join(row.split("|")[1] for row in table.splitlines()[2:]))
    assert tuple(named) == FILTERS


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    (row,) = (
        line for line in PAGE.splitlines() if line.startswith("| `default` | `fragmentation`")
    )
    assert dict(re.findall(r"`(\w+)` (\d+)", row)) == {
        name: f"{weight:g}" for name, weight in DEFAULT.weights.items()
    }
    assert f"at least the\ndistance ({DISTANCE})" in PAGE
    assert SEARCHED == 8
    assert "the eight nodes" in PAGE
    text = " ".join(PAGE.split())
    assert f"`min_gain` ({BRAKES.min_gain:g})" in text
    assert f"`cooldown_s` ({BRAKES.cooldown_s:g})" in text
    assert f"a budget ({BRAKES.moves} moves)" in text
