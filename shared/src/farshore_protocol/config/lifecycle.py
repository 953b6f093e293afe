"""The lifecycle of one configuration at a node, and so what ``rep/config`` may say of it.

The node writes each state down before it acts on it; what it finds after a crash it resolves by
this table.
"""

from farshore_protocol.lifecycle import Lifecycle

NODE_CONFIG = Lifecycle(
    noun="configuration at a node",
    initial="received",
    table={
        "received": frozenset({"staged", "failed", "superseded"}),
        # After a crash an attempt is received anew: what died is not its fault, three times it is.
        "staged": frozenset({"applying", "failed", "superseded", "received"}),
        "applying": frozenset({"checking", "rolling_back"}),
        "checking": frozenset({"applied", "rolling_back"}),
        "rolling_back": frozenset({"rolled_back", "failed", "superseded", "received"}),
        "applied": frozenset({"drifted", "superseded"}),
        "drifted": frozenset({"applied", "superseded"}),
        # The last good one runs; this digest is not tried again by itself.
        "rolled_back": frozenset(),
        # Nothing of it runs, or (after rolling_back) the node could not go back whole: it says what.
        "failed": frozenset(),
        # A newer one has taken its place, before it ran or after; that is not held against it.
        "superseded": frozenset(),
    },
)

REPORTED = ("applied", "drifted", "rolled_back", "failed")
"""The states that a node reports."""
