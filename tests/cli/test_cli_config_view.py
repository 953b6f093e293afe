"""What is said below a node's configuration: how far it is, why not further, and whose override stands."""

from typing import Any

import pytest
from farshore_center.cli.config_view import override_text, standing

NOW_MS = 1_795_728_564_310


def found(**reported: Any) -> dict[str, Any]:
    return {"state": "failed", "rev": 3, "reported": {"running_rev": 1, **reported}}


def test_a_node_that_runs_what_it_should_has_one_line() -> None:
    lines = standing({"state": "applied", "rev": 3, "reported": {"running_rev": 3}}, NOW_MS)
    assert list(lines) == ["applied, revision 3"]


def test_a_node_that_does_not_says_what_runs_and_why() -> None:
    error = {"code": "outside_roots", "path": "/files/x", "message": "not\x1b[31m allowed"}
    first, why = standing(found(error=error), NOW_MS)
    assert first == "failed, revision 3; revision 1 runs"
    assert why.startswith("  outside_roots at /files/x: not")
    assert "\x1b" not in why
    assert next(standing(found(running_rev=0), NOW_MS)).endswith("; none runs")


@pytest.mark.parametrize(
    ("expires_ms", "text"),
    [
        (None, "ada, without an end"),
        (NOW_MS + 7_200_000, "ada, 2h left"),
        (NOW_MS - 1, "ada, its time is over"),
    ],
)
def test_an_override_says_whose_it_is_and_how_long_it_stands(
    expires_ms: int | None, text: str
) -> None:
    config = {"override": {"author": "ada", "reason": "trial", "expires_ms": expires_ms}}
    assert override_text(config, NOW_MS) == text
    assert list(standing(found(**config), NOW_MS))[-1] == f"override: {text}"
