"""Where a task runs: one pool of nodes, filters, scores, and why. Pure: no clock, no I/O.

What a caller needs: ``Pool``, ``NodeCapacity``, ``Demand``, ``choose``, ``explain``, ``preempt``,
``rebalance``, ``room_to_wait_for``. The rest is how they do it.
"""

from farshore_center.placement.choose import choose, fits
from farshore_center.placement.decisions import (
    Choice,
    End,
    Figure,
    Origin,
    Placement,
    Rejection,
    Unplaceable,
    placement_of,
)
from farshore_center.placement.errors import PlacementError
from farshore_center.placement.explain import Explanation, Verdict, explain
from farshore_center.placement.model import (
    Affinity,
    Cluster,
    Data,
    Demand,
    Link,
    NodeCapacity,
    RunTime,
    Spread,
    Traffic,
    Transfer,
    Way,
)
from farshore_center.placement.policies import POLICIES, Policy
from farshore_center.placement.pool import Pool
from farshore_center.placement.preempt import Preemption, preempt
from farshore_center.placement.rebalance import Brakes, Move, rebalance
from farshore_center.placement.waiting import Held, Wait, room_to_wait_for

__all__ = [
    "POLICIES",
    "Affinity",
    "Brakes",
    "Choice",
    "Cluster",
    "Data",
    "Demand",
    "End",
    "Explanation",
    "Figure",
    "Held",
    "Link",
    "Move",
    "NodeCapacity",
    "Origin",
    "Placement",
    "PlacementError",
    "Policy",
    "Pool",
    "Preemption",
    "Rejection",
    "RunTime",
    "Spread",
    "Traffic",
    "Transfer",
    "Unplaceable",
    "Verdict",
    "Wait",
    "Way",
    "choose",
    "explain",
    "fits",
    "placement_of",
    "preempt",
    "rebalance",
    "room_to_wait_for",
]
