"""A record whose date nobody can check must not be accepted and then deleted for its age.

Nothing in a world is judged more mildly for a wrong clock: the same seed finds the defect when the
center believes every date.
"""

from typing import Any

import pytest
from farshore_center.ingest import clock
from farshore_sim.world.faults import draw
from farshore_sim.world.world import run_plan

PLAN = draw(1051, nodes=3, hours=1.0, tasks=False)
"""A node that is at 1970 and whose time exchange is lost; its chunks are made within the hour."""


def every_date_believed(envelope: Any, base_ms: int | None, **_: int) -> tuple[int, bool]:
    if envelope.synced:
        return envelope.ts, False
    if base_ms is not None:
        return base_ms + envelope.up_ms, False
    return envelope.ts, True


def test_a_clock_of_1970_costs_no_record() -> None:
    assert PLAN.has("clock_jump")
    assert run_plan(PLAN).violations == ()


def test_the_world_would_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "correct", every_date_believed)
    found = [str(violation) for violation in run_plan(PLAN).violations]
    assert any("accepted and not stored" in each for each in found), found
