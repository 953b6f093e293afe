"""Plans that once failed, shrunk: each is a defect that must not come back."""

import pytest
from farshore_sim.world.faults import Fault, Plan
from farshore_sim.world.world import run_plan

PLANS = {
    "the will of a center that lost power comes after its successor's word": Plan(
        seed=1,
        nodes=2,
        hours=0.1,
        broker="external",
        faults=(Fault(at_s=60.0, kind="center_crash", for_s=4.0, a=0.7, b=1.0),),
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_it_holds_now(name: str) -> None:
    outcome = run_plan(PLANS[name])
    assert outcome.counts.center_lives == 2
    assert not outcome.violations
