"""Where a task runs: one pool of nodes, filters, scores, and why. Pure: no clock, no I/O.

What a caller needs: ``Pool``, ``NodeCapacity``, ``Demand``, ``choose``, ``explain``, ``preempt``,
``rebalance``. The rest is how they do it.
"""

from farshore_center.placement.choose import choose, fits
from farshore_center.placement.errors import PlacementError
from farshore_center.placement.explain import Explanation, Verdict, explain
from farshore_center.placement.model import (
    Affinity,
    Choice,
    Cluster,
    Data,
    Demand,
    Figure,
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
from farshore_center.placement.preempt import Preemption, preempt
from farshore_center.placement.rebalance import Brakes, Move, rebalance

__all__ = [
    "POLICIES",
    "Affinity",
    "Brakes",
    "Choice",
    "Cluster",
    "Data",
    "Demand",
    "Explanation",
    "Figure",
    "Link",
    "Move",
    "NodeCapacity",
    "Placement",
    "PlacementError",
    "Policy",
    "Pool",
    "Preemption",
    "Rejection",
    "RunTime",
    "Spread",
    "Unplaceable",
    "Verdict",
    "choose",
    "explain",
    "fits",
    "preempt",
    "rebalance",
]
