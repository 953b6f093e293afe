"""Where a task runs: one pool of nodes, filters, scores, and why. Pure: no clock, no I/O.

What a caller needs: ``Pool``, ``NodeCapacity``, ``Demand``, ``choose``, ``explain``, ``preempt``,
``rebalance``. The rest is how they do it.
"""

from farshore_center.placement.choose import choose
from farshore_center.placement.errors import PlacementError
from farshore_center.placement.model import (
    Affinity,
    Choice,
    DataRead,
    Demand,
    Link,
    NodeCapacity,
    Placement,
    Rejection,
    RunTime,
    Spread,
    Unplaceable,
)
from farshore_center.placement.policies import POLICIES, Policy
from farshore_center.placement.pool import Pool

__all__ = [
    "POLICIES",
    "Affinity",
    "Choice",
    "DataRead",
    "Demand",
    "Link",
    "NodeCapacity",
    "Placement",
    "PlacementError",
    "Policy",
    "Pool",
    "Rejection",
    "RunTime",
    "Spread",
    "Unplaceable",
    "choose",
]
