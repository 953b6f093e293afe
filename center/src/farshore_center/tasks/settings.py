"""How the room of tasks paces itself."""

from dataclasses import asdict, dataclass, field, replace

from farshore_center.sending import Pace
from farshore_center.tasks.choices import TaskChoices
from farshore_center.tasks.engine import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """``resend_after_s`` doubles up to ``resend_most_s``: how long a node may take to say that it has what
    it should do. ``settle_s``: what nodes are given to come back after a start of the center, and after
    a time in which it heard nobody, before their silence counts. ``late_s``: an occurrence of a cron rule
    that is later than this is left out. ``answer_s``: what an online node has to say a word of a grant before
    it counts as lost there; ``slow_s``: a grant that takes longer to run is told of. ``preempt``: whether an
    instance without a place may push out others of a priority that is lower by ``preempt_distance`` or more.
    ``rebalance``: whether running services are moved to clearly better nodes: looked at every
    ``rebalance_every_s``, for a score higher by ``rebalance_gain`` or more, none again within
    ``rebalance_rest_s``, and ``rebalance_moves`` at once. ``keep_ended_s``, ``keep_ended``: how long, and how
    many, ended grants stay in the document of their node. ``keep_grants_s``, ``keep_lines``: how long ended
    grants, and how many lines of history, are kept."""

    rules: Rules = field(default_factory=Rules)
    resend_after_s: float = 5.0
    resend_most_s: float = 300.0
    send_timeout_s: float = 10.0
    settle_s: float = 15.0
    retry_s: float = 1.0
    late_s: float = 300.0
    look_again_s: float = 15.0
    batch: int = 200
    answer_s: float = 90.0
    slow_s: float = 60.0
    preempt: bool = True
    preempt_distance: int = 10
    rebalance: bool = False
    rebalance_every_s: float = 300.0
    rebalance_gain: float = 0.1
    rebalance_rest_s: float = 600.0
    rebalance_moves: int = 5
    keep_ended_s: float = 900.0
    keep_ended: int = 16
    keep_grants_s: float = 86_400.0
    keep_lines: int = 200_000

    @property
    def pace(self) -> Pace:
        return Pace(after_s=self.resend_after_s, most_s=self.resend_most_s)


def settings_of(choices: TaskChoices) -> TaskSettings:
    return replace(TaskSettings(), **asdict(choices))
