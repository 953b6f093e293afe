"""Simulated worlds, many of them: every invariant holds in each."""

import pytest
from farshore_sim.world.faults import draw
from farshore_sim.world.world import run_plan

CHUNKS, SEEDS_IN_A_CHUNK = 24, 10


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_invariant_holds(chunk: int) -> None:
    found = {}
    for seed in range(chunk * SEEDS_IN_A_CHUNK, (chunk + 1) * SEEDS_IN_A_CHUNK):
        outcome = run_plan(draw(seed, nodes=2 + seed % 2, hours=0.3, tasks=False))
        assert outcome.counts.records > 0, "a world in which nothing happens proves nothing"
        if outcome.violations:
            found[seed] = [str(violation) for violation in outcome.violations]
    assert not found, "replay: farshore-sim world --nodes (2, odd seeds 3) --hours 0.3 --seed …"
