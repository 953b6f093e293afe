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
    "a disk that fails when the center answers, and a kill, pass for a journey in time": Plan(
        seed=4552,
        nodes=3,
        hours=0.1425,
        broker="external",
        faults=(
            Fault(at_s=386.768, kind="crash", node=2, for_s=8.016, a=0.671, b=0.042),
            Fault(at_s=391.856, kind="broker", for_s=19.091, a=0.824, b=0.332),
            Fault(at_s=396.577, kind="failing_disk", node=2, for_s=505.25, a=0.061, b=0.784),
            Fault(at_s=502.98, kind="crash", node=2, for_s=2.194, a=0.683, b=0.867),
        ),
    ),
    "a node comes again and leaves while the center is cut off, and counts as alive": Plan(
        seed=5089,
        nodes=2,
        hours=0.5,
        broker="external",
        faults=(
            Fault(at_s=1792.484, kind="event", node=1, for_s=79.756, a=0.622, b=0.909),
            Fault(at_s=1796.783, kind="partition", node=1, for_s=289.56, a=0.043, b=0.214),
            Fault(at_s=1800.0, kind="center_cut", for_s=36.135, a=0.552, b=0.906),
        ),
    ),
    "a wiped node speaks into the silence of a center that comes just then": Plan(
        seed=1023,
        nodes=4,
        hours=0.3053,
        broker="external",
        quota_bytes=4000,
        memory_first=True,
        faults=(
            Fault(at_s=412.957, kind="center_crash", for_s=11.406, a=0.737, b=0.656),
            Fault(at_s=675.836, kind="event", node=1, for_s=95.564, a=0.28, b=0.07),
            Fault(at_s=869.447, kind="command", node=0, for_s=16.59, a=0.838, b=0.163),
            Fault(at_s=1016.897, kind="broker", for_s=47.136, a=0.16, b=0.512),
            Fault(at_s=1051.242, kind="center_crash", for_s=336.678, a=0.108, b=0.629),
            Fault(at_s=1073.758, kind="wipe", node=2, for_s=30.278, a=0.762, b=0.058),
            Fault(at_s=1088.905, kind="center_restored", for_s=205.327, a=0.665, b=0.198),
        ),
    ),
    "a disk is set back, and then to a newer copy of the time that it had left": Plan(
        seed=7057,
        nodes=1,
        hours=0.19,
        broker="embedded",
        memory_first=True,
        faults=(
            Fault(at_s=54.222, kind="center_crash", for_s=352.202, a=0.806, b=0.648),
            Fault(at_s=324.426, kind="center_restart", for_s=143.374, a=0.867, b=0.138),
            Fault(at_s=428.813, kind="rewound", node=0, for_s=129.848, a=0.118, b=0.789),
            Fault(at_s=673.865, kind="rewound", node=0, for_s=257.633, a=0.077, b=0.54),
        ),
    ),
    "a disk is set back, and its node gives up what it made since, before anybody tells it": Plan(
        seed=81889,
        nodes=2,
        hours=0.2465,
        broker="embedded",
        quota_bytes=4000,
        sites=1,
        faults=(
            Fault(at_s=127.018, kind="task", a=0.735, b=0.611),
            Fault(at_s=146.447, kind="task", a=0.404, b=0.138),
            Fault(at_s=704.962, kind="site_cut", node=1, for_s=480.939, a=0.122, b=0.717),
            Fault(at_s=745.997, kind="rewound", node=0, for_s=329.246, a=0.404, b=0.969),
            Fault(at_s=767.274, kind="program_dies", node=0, for_s=1.071, a=0.518, b=0.141),
        ),
    ),
    "an original that took its place back dies, as the site of its former replacement is cut": Plan(
        seed=31669,
        nodes=3,
        hours=0.3726,
        broker="external",
        sites=2,
        heartbeat_s=5.0,
        faults=(
            Fault(at_s=292.363, kind="task", for_s=28.881, a=0.193, b=0.439),
            Fault(at_s=928.104, kind="drain", node=0, for_s=431.565, a=0.84, b=0.21),
            Fault(at_s=970.7, kind="partition", node=1, for_s=22.282, a=0.474, b=0.324),
            Fault(at_s=1326.531, kind="reboot", node=1, for_s=60.772, a=0.452, b=0.739),
            Fault(at_s=1331.358, kind="site_cut", node=0, for_s=13.856, a=0.391, b=0.479),
        ),
    ),
    "a node whose disk fails does not take a grant, and its site is cut before that is decided": Plan(
        seed=30944,
        nodes=3,
        hours=0.4907,
        broker="external",
        sites=1,
        heartbeat_s=30.0,
        faults=(
            Fault(at_s=1374.978, kind="site_cut", node=0, for_s=1.888, a=0.684, b=0.757),
            Fault(at_s=1403.653, kind="task", for_s=6.655, a=0.379, b=0.342),
            Fault(at_s=1667.869, kind="failing_disk", node=1, for_s=154.42, a=0.818, b=0.601),
            Fault(at_s=1669.805, kind="task", for_s=1.475, a=0.085, b=0.455),
            Fault(at_s=1756.431, kind="site_cut", node=2, for_s=100.154, a=0.547, b=0.64),
        ),
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_it_holds_now(name: str) -> None:
    plan = PLANS[name]
    outcome = run_plan(plan)
    deaths = sum(fault.kind in ("center_crash", "center_restart") for fault in plan.faults)
    assert outcome.counts.center_lives == 1 + deaths
    assert outcome.counts.records > 0
    assert not outcome.violations


def test_copies_of_a_center_that_cross_are_let_pass() -> None:
    """A disk gives two numbers again; a center that was set back knows nothing of that and takes
    them; then the center is set to a newer copy, which has the first records under them."""
    plan = Plan(
        seed=30718,
        nodes=1,
        hours=0.37,
        broker="embedded",
        faults=(
            Fault(at_s=780.0, kind="rewound", node=0, for_s=86.5, a=0.779, b=0.278),
            Fault(at_s=782.0, kind="partition", node=0, for_s=279.0, a=0.213, b=0.542),
            Fault(at_s=853.0, kind="center_restored", for_s=661.0, a=0.897, b=0.559),
            Fault(at_s=1279.5, kind="center_restored", for_s=502.5, a=0.298, b=0.431),
        ),
    )
    outcome = run_plan(plan)
    assert outcome.counts.center_lives == 3
    assert not outcome.violations
