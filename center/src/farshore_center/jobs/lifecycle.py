"""The lifecycles of a job and of one node in it. Two tables; docs/jobs.md draws them."""

from farshore_protocol.lifecycle import Lifecycle

JOB = Lifecycle(
    noun="job",
    initial="scheduled",
    table={
        # Its time has not come; one with a cron rule stays here and starts others.
        "scheduled": frozenset({"running", "aborted"}),
        "running": frozenset({"awaiting_approval", "paused", "halted", "succeeded", "aborted"}),
        # A person says whether the next wave may begin.
        "awaiting_approval": frozenset({"running", "paused", "halted", "aborted"}),
        # A person stopped it, and may go on.
        "paused": frozenset({"running", "halted", "aborted", "rolling_back"}),
        # A rule stopped it: too many failures, a gate, the deadline.
        "halted": frozenset({"running", "aborted", "rolling_back"}),
        "succeeded": frozenset({"rolling_back"}),
        "aborted": frozenset({"rolling_back"}),
        "rolling_back": frozenset({"rolled_back"}),
        "rolled_back": frozenset(),
    },
)

_ENDS = frozenset(
    {"succeeded", "failed", "timed_out", "silent", "rejected", "interrupted", "cancelled"}
)

JOB_NODE = Lifecycle(
    noun="node in a job",
    initial="waiting",
    table={
        "waiting": frozenset({"active", "left"}),
        # It is told; what it says decides. Back to waiting: the job was stopped before it was told.
        "active": _ENDS | {"retrying", "waiting"},
        # It failed or timed out, and is told once more when the rules permit it.
        "retrying": frozenset({"active", "failed", "timed_out"}),
        "succeeded": frozenset({"undoing"}),
        "failed": frozenset({"undoing"}),
        "timed_out": frozenset({"undoing"}),
        # No word by its deadline; an answer that comes later still counts.
        "silent": _ENDS - {"silent"} | {"undoing"},
        "rejected": frozenset({"undoing"}),
        "interrupted": frozenset({"undoing"}),
        "cancelled": frozenset({"undoing"}),
        # It does not match the selector any more, and nothing was done.
        "left": frozenset({"waiting"}),
        "undoing": frozenset({"undone", "undo_failed"}),
        "undone": frozenset(),
        "undo_failed": frozenset(),
    },
)

ENDED = _ENDS | {"undoing", "undone", "undo_failed"}
"""The node had its turn."""

BAD = _ENDS - {"succeeded"}
"""The ends that count against the job. Silence is one of them."""

RETRIED = frozenset({"failed", "timed_out"})

QUIET = frozenset(JOB.table) - {"running", "rolling_back"}
"""In these a job sends nothing."""

OVER = frozenset({"succeeded", "aborted", "rolled_back"})
"""Nothing more happens unless a person asks for a rollback."""
