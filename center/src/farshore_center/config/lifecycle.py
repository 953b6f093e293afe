"""What the center knows of one node's configuration. One table; docs/configuration.md draws it.

From ``pending`` on the node's reports decide. They may be lost or overtake each other, and a node
may change its mind (it repairs, or falls back), so a report leads to every state that is reported.
"""

from farshore_protocol.config.lifecycle import REPORTED
from farshore_protocol.lifecycle import Lifecycle

_SAID = frozenset(REPORTED) | {"ahead"}
_ALL = _SAID | {"pending"}

DESIRED_CONFIG = Lifecycle(
    noun="configuration of a node at the center",
    initial="none",
    table={
        # Nothing was ever desired of the node.
        "none": frozenset({"pending", "ahead"}),
        # It is to be sent, or was sent and not answered.
        "pending": _SAID,
        "applied": _ALL - {"applied"},
        "drifted": _ALL - {"drifted"},
        "rolled_back": _ALL - {"rolled_back"},
        "failed": _ALL - {"failed"},
        # The node runs a revision that this center never gave; a person decides.
        "ahead": frozenset(REPORTED) | {"pending"},
    },
)


def moved(current: str, new: str) -> str:
    """``new``; IllegalTransitionError for a way that is not in the table."""
    return new if new == current else DESIRED_CONFIG.check(current, new)
