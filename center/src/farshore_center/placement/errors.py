"""What can be wrong with what placement is told.

PlacementError(CenterError)
├── CapacityError      a node or a demand whose numbers can't be true
├── UnknownNodeError   a node that is not in the pool
├── UnknownTaskError   a task that holds nothing in the pool
└── DoesNotFitError    a reservation that would hand out more than there is

That no node takes a task is no error: it is an ``Unplaceable``.
"""

from farshore_center.errors import CenterError


class PlacementError(CenterError):
    """The root; nothing in the pool was changed."""


class CapacityError(PlacementError):
    """Negative, or more than any machine has."""


class UnknownNodeError(PlacementError):
    """The node is not in the pool."""


class UnknownTaskError(PlacementError):
    """The task holds nothing in the pool."""


class DoesNotFitError(PlacementError):
    """What is asked for is not free on that node, or the task already holds something."""
