"""A world notices defects: each is put in on purpose and must be found within some seeds."""

import pytest
from farshore_sim.world import world
from farshore_sim.world.faults import Fault, Plan, draw
from farshore_sim.world.world import run_plan
from world.mutants import MUTANTS, held_commands_sent_at_once

SEEDS = 60
WAITING = Plan(
    seed=1,
    nodes=1,
    hours=0.15,
    broker="external",
    faults=(
        Fault(at_s=60.0, kind="partition", node=0, for_s=160.0),
        Fault(at_s=100.0, kind="command", node=0, for_s=900.0, b=0.5),
        Fault(at_s=180.0, kind="center_restored", for_s=50.0, a=0.1, b=0.2),
    ),
)
"""A command waits in the backup; the node is back before a person resumes."""
HINTS = {
    "command_not_noted_before_it_runs": 215,
    "sent_command_cancelled": 46,
    "memory_not_written_at_stop": 69,
    "no_birth_for_a_center_that_comes": 41,
    "disk_that_went_back_not_noticed": 13,
    "open_commands_not_asked_for": 5,
}
"""Where the search begins, so that it is short; it goes on when the seed has become another world."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_defect_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    monkeypatch.setattr(world, "SETTLE_S", 900.0)
    first = HINTS.get(name, 0)
    assert any(
        run_plan(draw(seed, nodes=3, hours=0.3, tasks=False)).violations
        for seed in range(first, first + SEEDS)
    ), f"{name} was not found by {SEEDS} seeds"


def test_a_held_command_that_is_sent_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not run_plan(WAITING).violations
    held_commands_sent_at_once(monkeypatch)
    assert "though held" in str(run_plan(WAITING).violations)
