"""The lifecycle of an instance as the center decides it; what its grant does is the node's lifecycle."""

from farshore_protocol.lifecycle import Lifecycle

PLACED = Lifecycle(
    noun="instance at the center",
    initial="pending",
    table={
        # It waits for a place, or for the moment of its next attempt.
        "pending": frozenset({"active", "failed", "stopped"}),
        # It has a current grant; back to pending: that one has ended, and it runs again.
        "active": frozenset({"pending", "done", "failed", "stopped"}),
        # The three ends of a run; a start, a restart or the next occurrence begins another.
        "done": frozenset({"pending", "stopped"}),
        "failed": frozenset({"pending", "stopped"}),
        "stopped": frozenset({"pending"}),
    },
)
