"""Which losses a plan justifies: records that are gone for any other reason are a violation. Pure."""

from farshore_edge.outbox.losses import THINNED
from farshore_edge.outbox.outbox import DIED, DISK
from farshore_edge.outbox.reasons import LOST_BY_THE_CENTER, NOT_KEPT
from farshore_edge.outbox.rewind import RENUMBERED, REWOUND
from farshore_edge.outbox.room import QUOTA

from farshore_sim.world.faults import Plan


def justified(plan: Plan) -> frozenset[str]:
    """Reasons in the ledger of losses."""
    reasons = {QUOTA, THINNED} if plan.quota_bytes is not None else set()
    reasons |= {DISK} if plan.has("failing_disk") else set()
    reasons |= {LOST_BY_THE_CENTER, NOT_KEPT} if plan.has("center_restored") else set()
    reasons |= {REWOUND, RENUMBERED} if plan.has("rewound") else set()
    dies = plan.has("crash", "rewound", "reboot") or (
        plan.has("restart") and plan.has("failing_disk")
    )
    reasons |= {DIED} if plan.memory_first and dies else set()
    return frozenset(reasons)
