"""What becomes of a target: when to send, when to give up, what a report changes. Pure.

Two rules carry it. The center speaks first and the node has the last word: from its first report
on, the center changes nothing. And of a node's reports the newest counts: reports overtake each
other, their `seq` does not.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from farshore_protocol.commands import NODE_COMMAND, TARGET, CommandReport, reachable
from farshore_protocol.commands.lifecycle import FINAL

from farshore_center.events.document import json_text
from farshore_center.sending import Pace

NOT_ONLINE = "node was not online"
NO_ANSWER = "no answer"
CANCELLED = "cancelled before it was sent"
HELD = "held: the center was restored from a backup"
DELETED = "the node was deleted"
VANISHED = "the node took it, and has said nothing since"
NOT_ANNOUNCED = "the node has not announced the verb"

TAKEN = tuple(state for state in NODE_COMMAND.table if state not in FINAL)
"""The node has it, and has not told an end."""

MAX_STEPS = 100
"""A node that reports without end does not make a history without end: the newest are kept."""

_RANK = {state: rank for rank, state in enumerate(TARGET.table)}


class Step(NamedTuple):
    """A state and when it was reached: on the center's clock, or on the node's if that said so."""

    state: str
    at_ms: int
    by_node: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A command at one node. `epoch` and `seq`: of the report that gave the state.

    `held`: the state is of before a restore; nothing is sent until a person says so.
    `cancelling`: the node was asked to end it, by a command of its own; it is not sent again.
    `secret`, `erased`: of the command, see its table.
    """

    command_id: str
    node: str
    expires_ms: int
    updated_ms: int
    state: str = "queued"
    reason: str | None = None
    sent_ms: int | None = None
    sends: int = 0
    epoch: str | None = None
    seq: int = 0
    result: str | None = None
    error: str | None = None
    history: tuple[Step, ...] = ()
    held: bool = False
    cancelling: bool = False
    secret: bool = False
    erased: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return (self.command_id, self.node)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do with a target now. `target` is how it is then; `look_ms`: when to decide again."""

    action: Literal["send", "expire", "reject", "wait", "settled"]
    target: Target
    look_ms: int | None = None


def queued(*, command_id: str, node: str, expires_ms: int, now_ms: int) -> Target:
    """A target at its beginning."""
    return Target(
        command_id=command_id,
        node=node,
        expires_ms=expires_ms,
        updated_ms=now_ms,
        history=(Step(TARGET.initial, now_ms),),
    )


def decide_sends(
    targets: Iterable[Target],
    now_ms: int,
    online: AbstractSet[str],
    *,
    arrived: AbstractSet[str] = frozenset(),
    pace: Pace,
) -> list[Decision]:
    """One decision for each target; who has just `arrived` is sent everything unanswered at once."""
    return [
        _decide(
            target,
            now_ms,
            online=target.node in online or target.node in arrived,
            at_once=target.node in arrived,
            pace=pace,
        )
        for target in targets
    ]


def _decide(target: Target, now_ms: int, *, online: bool, at_once: bool, pace: Pace) -> Decision:
    if target.state not in ("queued", "sent"):
        return Decision(action="settled", target=target)
    if now_ms >= target.expires_ms:
        reason = NOT_ONLINE if target.state == "queued" else NO_ANSWER
        reason = HELD if target.held else reason
        return Decision(action="expire", target=_moved(target, "expired", now_ms, reason))
    if target.held or target.cancelling or not online:
        return Decision(action="wait", target=target, look_ms=target.expires_ms)
    if target.state == "sent" and not at_once:
        sent_ms = target.sent_ms or 0
        again_ms = sent_ms + pace.pause_ms(target.sends)
        # A sending in the future is a clock that was set back: don't wait for that time again.
        if sent_ms <= now_ms < again_ms:
            look_ms = min(again_ms, target.expires_ms)
            return Decision(action="wait", target=target, look_ms=look_ms)
    sent = _sent(target, now_ms)
    look_ms = min(now_ms + pace.pause_ms(sent.sends), target.expires_ms)
    return Decision(action="send", target=sent, look_ms=look_ms)


def _sent(target: Target, now_ms: int) -> Target:
    """Sent, for the first time or again: a node answers an id that it knows with what it knows."""
    first = target if target.state == "sent" else _moved(target, "sent", now_ms, None)
    return replace(first, sent_ms=now_ms, sends=target.sends + 1)


def cancel(target: Target, now_ms: int) -> Target | None:
    """The target cancelled, when it was not sent yet; or `cancelling`, when only its node can end it;
    None when it is at its end."""
    if target.state == "queued":
        return _moved(target, "cancelled", now_ms, CANCELLED)
    return None if target.state in FINAL else replace(target, cancelling=True)


def reject_unannounced(target: Target, verb: str, now_ms: int) -> Decision:
    """Of a target that is still `queued`: its node is there, and does not have the verb."""
    message = f"verb {verb!r}: {NOT_ANNOUNCED}; it was not sent"
    error = json_text({"code": "unknown_verb", "message": message})
    moved = _moved(target, "rejected", now_ms, NOT_ANNOUNCED)
    return Decision(action="reject", target=replace(moved, error=error))


def forget(target: Target, now_ms: int) -> Target | None:
    """The target when its node is deleted; None when it is at its end. Should the node come back after
    all, its word counts."""
    if target.state in FINAL:
        return None
    state = "expired" if target.state in ("queued", "sent") else "interrupted"
    return _moved(target, state, now_ms, DELETED)


def give_up(
    target: Target, now_ms: int, *, timeout_s: float | None, after_s: float
) -> Target | None:
    """The target when its node has vanished with it: neither it nor the time of its command is younger
    than ``after_s``. Should the node come back after all, its word counts."""
    if target.state not in TAKEN:
        return None
    last_ms = max(target.updated_ms, target.expires_ms + round((timeout_s or 0) * 1000))
    if now_ms < last_ms + round(after_s * 1000):
        return None
    return _moved(target, "interrupted", now_ms, VANISHED)


def _moved(target: Target, state: str, now_ms: int, reason: str | None) -> Target:
    TARGET.check(target.state, state)
    return replace(
        target,
        state=state,
        reason=reason,
        updated_ms=now_ms,
        history=(*target.history, Step(state, now_ms)),
        held=False,
    )


def apply_report(target: Target, report: CommandReport, at_ms: int) -> Target:
    """The target after a report that reached the center at `at_ms`; itself if nothing changes."""
    history = _merged(target.history, _steps(report))
    result = None if report.result is None or target.erased else json_text(report.result)
    error = None if report.error is None else json_text(report.error)
    if report.state == target.state:
        # The node does not remember what a secret command came to: of two words on one end, one may
        # have it, and either may come first.
        result, error = result or target.result, error or target.error
    if not _counts(target, report):
        if report.state != target.state or target.state not in FINAL:
            result, error = target.result, target.error
        after = replace(target, history=history, result=result, error=error)
        return target if after == target else after
    return replace(
        target,
        state=report.state,
        reason=None,
        updated_ms=at_ms,
        epoch=report.epoch,
        seq=report.seq,
        result=result,
        error=error,
        history=history,
        held=False,
    )


def _counts(target: Target, report: CommandReport) -> bool:
    """Whether the report's state is taken."""
    if not reachable(TARGET, target.state, report.state):
        return False
    if target.epoch is None:
        return True
    if report.epoch == target.epoch:
        # Without this a late "running" would bring an interrupted command back to life.
        return report.seq > target.seq
    # Another life of the node's disk: nothing orders the two, so an end remains an end.
    return target.state not in FINAL or target.state == "expired"


def _steps(report: CommandReport) -> list[Step]:
    said = [*report.via, (report.state, report.at)]
    return [Step(state, at_ms, by_node=True) for state, at_ms in said]


def _merged(history: Sequence[Step], new: Sequence[Step]) -> tuple[Step, ...]:
    """The center's steps, which come first in any case, then the node's by its own clock."""
    by_center = [step for step in history if not step.by_node]
    by_node = {step for step in (*history, *new) if step.by_node}
    ordered = sorted(by_node, key=lambda step: (step.at_ms, _RANK[step.state]))
    return (*by_center, *ordered[-MAX_STEPS:])
