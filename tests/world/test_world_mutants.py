"""A world notices defects: each is put in on purpose and must be found within some seeds."""

import pytest
from farshore_sim.world import world
from farshore_sim.world.faults import draw
from farshore_sim.world.world import run_plan
from world.mutants import MUTANTS

SEEDS = 60
HINTS = {
    "command_not_noted_before_it_runs": 32,
    "sent_command_cancelled": 46,
    "memory_not_written_at_stop": 69,
    "held_commands_sent_at_once": 85,
    "no_birth_for_a_center_that_comes": 41,
    "disk_that_went_back_not_noticed": 13,
}
"""Where the search begins, so that it is short; it goes on when the seed has become another world."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_defect_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    monkeypatch.setattr(world, "SETTLE_S", 900.0)
    first = HINTS.get(name, 0)
    assert any(
        run_plan(draw(seed, nodes=3, hours=0.3)).violations for seed in range(first, first + SEEDS)
    ), f"{name} was not found by {SEEDS} seeds"
