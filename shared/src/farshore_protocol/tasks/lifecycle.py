"""The lifecycle of an instance of a task: at the node, and at the center.

The center's table holds the node's: from ``granted`` on the node's word decides, and ``lost`` is what
the center assumes when nothing is heard of it.
"""

from farshore_protocol.lifecycle import Lifecycle

NODE_TASK = Lifecycle(
    noun="task at the node",
    initial="received",
    table={
        "received": frozenset({"preparing", "stopped", "rejected", "failed"}),
        # Artifacts are fetched, an image is pulled, an environment is made.
        "preparing": frozenset({"starting", "backing_off", "stopping", "stopped", "failed"}),
        # It has a process, and its first health check has not passed; without a check it runs at once.
        "starting": frozenset({"running", "backing_off", "stopping", "succeeded", "failed"}),
        "running": frozenset({"backing_off", "stopping", "succeeded", "failed"}),
        # It ended by itself and is started again after a while.
        "backing_off": frozenset({"preparing", "starting", "stopping", "stopped", "failed"}),
        "stopping": frozenset({"stopped", "failed"}),
        # Orderly, because the center, a person or the end of the lease wanted it so.
        "stopped": frozenset(),
        "succeeded": frozenset(),
        # It ended by itself and is not started again, or could not be ended.
        "failed": frozenset(),
        # The node can't run such a thing: no such driver, wrong settings, nothing free.
        "rejected": frozenset(),
    },
)

_NODE_WORDS = frozenset(NODE_TASK.table)

INSTANCE = Lifecycle(
    noun="instance of a task",
    initial="granted",
    table={
        # Decided and durable with its lease; the node has not answered yet.
        "granted": _NODE_WORDS | {"lost", "withdrawn"},
        **{
            state: follows | {"lost"} if follows else follows
            for state, follows in NODE_TASK.table.items()
        },
        # Nothing was heard of it for too long. Its node may come back with it, in any state.
        "lost": _NODE_WORDS | {"withdrawn"},
        # The node is gone for good, or was never told: nobody will speak of it.
        "withdrawn": frozenset(),
    },
)

FINAL = frozenset({"stopped", "succeeded", "failed", "rejected", "withdrawn"})
"""The states in which it holds nothing of its node."""

ALIVE = frozenset({"granted", *NODE_TASK.table}) - FINAL
"""The states in which it is, or will be, at work as far as is known."""
