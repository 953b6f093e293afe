"""What the end of a grant counts for: pauses that grow, nodes that are left out. Pure.

An end by itself counts as a failure, of which a batch has only so many. An end because the lease was not
renewed in time is nobody's failure, and is counted apart. The first one costs nothing, so that work goes on
as soon as its node is back; again and again it costs more and more, as a link that can't carry its renewals
would else make it begin and end for ever.
"""

from dataclasses import dataclass, replace

from farshore_center.tasks.records import Granted
from farshore_center.tasks.work import MOST_AVOIDED, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """``batch_attempts``: grants that a batch instance gets after failures, the first included.
    ``backoff_s`` doubles with each failure, and from the second one on with each lapse of a lease, up to
    ``backoff_most_s``. After ``calm_s`` of running an earlier failure of a service is forgotten; a batch may
    run for long and fail each time. Earlier lapses are after ``lease_calm_s``, and as long as the pause that
    they have led to."""

    batch_attempts: int = 3
    backoff_s: float = 1.0
    backoff_most_s: float = 300.0
    calm_s: float = 600.0
    lease_calm_s: float = 60.0

    def pause_ms(self, failures: int) -> int:
        if failures < 1:
            return 0
        doubled_s = self.backoff_s * (1 << min(failures - 1, 16))
        return round(min(doubled_s, self.backoff_most_s) * 1000)

    def due(self, due_ms: int, now_ms: int) -> bool:
        """Whether a pause is over; one that is longer than any is of a clock that was set back since."""
        return not now_ms < due_ms <= now_ms + round(self.backoff_most_s * 1000)


def failed(work: Work, current: Granted, rules: Rules) -> None:
    """It has ended by itself, or was rejected: tried again after a pause, rather elsewhere."""
    spec, instance = work.view.task.spec, work.instance
    ran_ms = (current.ended_ms or work.world.now_ms) - current.granted_ms
    calm = spec.kind == "service" and ran_ms >= rules.calm_s * 1000
    failures = 1 if calm else instance.failures + 1
    reason = f"{current.state} on {current.node}: {current.reason or 'no reason was said'}"
    work.instance = replace(
        instance,
        failures=failures,
        avoid=_avoided(work, current.node),
        exit_code=current.exit_code,
        due_ms=work.world.now_ms + rules.pause_ms(failures),
    )
    never = current.state == "failed" and spec.restart_policy() == "never"
    if spec.kind == "batch" and (never or failures >= rules.batch_attempts):
        work.become("failed", reason)
    else:
        work.become("pending", reason)


def lapsed(current: Granted) -> bool:
    """Whether its node ended it unasked, which it does when the lease was not renewed in time."""
    return current.state == "stopped" and current.want == "run" and current.lease_s > 0


def lapse(work: Work, current: Granted, rules: Rules) -> None:
    """Granted anew at once; again and again after a growing pause, and rather elsewhere."""
    lapses = work.instance.lapses + 1
    pause_ms = rules.pause_ms(lapses - 1)
    reason = f"its lease was not renewed in time on {current.node}"
    if pause_ms:
        reason += f", {lapses} times in a row; it rests for {pause_ms / 1000:g} s"
    work.instance = replace(
        work.instance,
        lapses=lapses,
        avoid=_avoided(work, current.node) if pause_ms else work.instance.avoid,
        due_ms=work.world.now_ms + pause_ms,
    )
    work.become("pending", reason)


def calmed(work: Work, grant: Granted, rules: Rules) -> None:
    """Earlier lapses are forgotten, if this grant ran for long enough."""
    lapses = work.instance.lapses
    if not lapses:
        return
    until_ms = grant.since_ms if grant.state == "lost" else grant.ended_ms or work.world.now_ms
    ran_ms = until_ms - grant.granted_ms if grant.run_s is None else grant.run_s * 1000
    if ran_ms >= max(rules.lease_calm_s * 1000, rules.pause_ms(lapses - 1)):
        work.instance = replace(work.instance, lapses=0)


def _avoided(work: Work, node: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*work.instance.avoid, node)))[-MOST_AVOIDED:]
