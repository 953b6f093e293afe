"""How the room of tasks paces itself."""

from dataclasses import dataclass, field

from farshore_center.tasks.engine import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """``resend_after_s`` doubles up to ``resend_most_s``: how long a node may take to say that it has what
    it should do. ``settle_s``: what nodes are given to come back after a start of the center, and after
    a time in which it heard nobody, before their silence counts. ``late_s``: an occurrence of a cron rule
    that is later than this is left out. ``keep_grants_s``, ``keep_lines``: how long ended grants, and how
    many lines of history, are kept."""

    rules: Rules = field(default_factory=Rules)
    resend_after_s: float = 5.0
    resend_most_s: float = 300.0
    send_timeout_s: float = 10.0
    settle_s: float = 15.0
    retry_s: float = 1.0
    late_s: float = 300.0
    look_again_s: float = 15.0
    batch: int = 200
    preempt: bool = True
    preempt_distance: int = 10
    rebalance: bool = False
    rebalance_every_s: float = 300.0
    keep_grants_s: float = 86_400.0
    keep_lines: int = 200_000
