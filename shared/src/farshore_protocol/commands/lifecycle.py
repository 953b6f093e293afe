"""The lifecycle of a command: at the node, and of one target at the center.

The center's table holds the node's: from ``queued`` and ``sent`` on, the node's word decides.
"""

from farshore_protocol.lifecycle import Lifecycle

NODE_COMMAND = Lifecycle(
    noun="command at the node",
    initial="received",
    table={
        # Received: it waits for its turn. Cancelled then, it is never run.
        "received": frozenset({"accepted", "rejected", "expired", "cancelled", "interrupted"}),
        "accepted": frozenset({"running", "cancelled", "interrupted"}),
        "running": frozenset({"succeeded", "failed", "timed_out", "cancelled", "interrupted"}),
        "succeeded": frozenset(),
        "failed": frozenset(),
        "timed_out": frozenset(),
        "cancelled": frozenset(),
        # After a crash; an idempotent verb is run again, any other never.
        "interrupted": frozenset({"running"}),
        "rejected": frozenset(),
        "expired": frozenset(),
    },
)

_NODE_WORDS = frozenset(NODE_COMMAND.table)

TARGET = Lifecycle(
    noun="target of a command",
    initial="queued",
    table={
        # Rejected: the node is there and has not announced the verb; nothing was sent.
        "queued": frozenset({"sent", "cancelled", "expired", "rejected"}),
        # Once it was sent, only the node knows; without its word the deadline makes it expired,
        # and an answer that comes later (the link was cut) still overrules that.
        "sent": _NODE_WORDS,
        **NODE_COMMAND.table,
        "expired": _NODE_WORDS - {"expired"},
    },
)

FINAL = frozenset(
    {"succeeded", "failed", "timed_out", "cancelled", "interrupted", "rejected", "expired"}
)
"""The states at which nothing more is awaited."""


def reachable(lifecycle: Lifecycle, current: str, new: str) -> bool:
    """Whether ``new`` can follow ``current`` through any number of steps.

    Reports may be lost or overtake each other; a later state implies the ones between.
    """
    seen = {current}
    frontier = [current]
    while frontier:
        for follower in lifecycle.table[frontier.pop()]:
            if follower == new:
                return True
            if follower not in seen:
                seen.add(follower)
                frontier.append(follower)
    return False
