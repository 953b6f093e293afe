"""What was decided of one instance, and how a place, or that there is none, becomes part of it. Pure."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from farshore_center.tasks.records import Granted, Instance, Line
from farshore_center.tasks.work import View


class Place(NamedTuple):
    """A place is needed. ``why``: ``placed`` (nothing runs), ``replaced`` (what ran is lost); or, before
    what runs there is ended, whether there is one: ``drained``."""

    why: Literal["placed", "replaced", "drained"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """``after``: None: it is gone for good. ``grants``: those that changed. ``look_s``: on the monotonic
    clock, when time alone may change it; ``look_ms``: the same on the wall clock. ``awaited``: nodes whose
    next word, whatever it is, may change it."""

    view: View
    after: Instance | None
    grants: tuple[Granted, ...] = ()
    lines: tuple[Line, ...] = ()
    place: Place | None = None
    look_s: float | None = None
    look_ms: int | None = None
    awaited: frozenset[str] = frozenset()

    @property
    def changed(self) -> bool:
        return self.after != self.view.instance or bool(self.grants)

    @property
    def nodes(self) -> frozenset[str]:
        """Whose documents change."""
        before = self.view.grants
        return frozenset(
            each.node
            for each in self.grants
            if (old := before.get(each.epoch)) is None
            or (old.want, old.final) != (each.want, each.final)
        )


def grant(
    decided: Decision, node: str, gpus: tuple[int, ...], now_ms: int, why: str | None
) -> Decision:
    """The decision with a grant on this node; ``why``: the explanation, JSON text."""
    before, task = decided.after, decided.view.task
    if before is None or decided.place is None:
        raise ValueError("no place was asked for")
    epoch = max(before.last_epoch + 1, now_ms)
    new = Granted(
        task=task.name,
        instance=before.instance,
        epoch=epoch,
        node=node,
        attempt=before.attempt + 1,
        revision=task.revision,
        run=task.run,
        since_ms=now_ms,
        granted_ms=now_ms,
        lease_s=task.spec.disconnect.lost_after_s
        if task.spec.disconnect.on_disconnect == "stop"
        else 0.0,
        gpus=gpus,
    )
    after = replace(
        before,
        state="active",
        since_ms=now_ms,
        epoch=epoch,
        last_epoch=epoch,
        attempt=new.attempt,
        revision=task.revision,
        run=task.run,
        reason=None,
        exit_code=None,
        decision=why,
    )
    others = _superseded(decided, before.epoch) if decided.place.why == "replaced" else ()
    changed = {each.epoch: each for each in (*decided.grants, *others)}
    line = Line(
        task=task.name,
        instance=before.instance,
        epoch=epoch,
        node=node,
        state=decided.place.why,
    )
    return replace(
        decided,
        after=after,
        grants=(*changed.values(), new),
        lines=(*decided.lines, line),
        place=None,
    )


def _superseded(decided: Decision, epoch: int) -> tuple[Granted, ...]:
    """The lost one that is replaced: told to end where the replacement is to stay."""
    changed = {each.epoch: each for each in decided.grants}
    old = changed.get(epoch) or decided.view.grants.get(epoch)
    keep = decided.view.task.spec.disconnect.on_reconnect == "keep_original"
    if old is None or old.final or (keep and not old.lease_s):
        return ()
    return (old.stopped("superseded"),)


def leave(decided: Decision, epoch: int, why: str) -> Decision:
    """The decision with its current grant ended, so that it is placed anew: a drain."""
    changed = {each.epoch: each for each in decided.grants}
    old = changed.get(epoch) or decided.view.grants[epoch]
    changed[epoch] = old.stopped(why)
    line = Line(
        task=old.task,
        instance=old.instance,
        epoch=epoch,
        node=old.node,
        state="stopping",
        reason=why,
    )
    return replace(
        decided, grants=tuple(changed.values()), lines=(*decided.lines, line), place=None
    )


def refused(
    decided: Decision, reason: str, why: str | None, *, state: str = "unplaceable"
) -> Decision:
    """The decision where no node takes it: it stays as it is, and says why. ``state``: of the line of
    history; ``waiting``: it could go, and had better wait."""
    after = decided.after
    lines, before = decided.lines, decided.view.instance
    if after is not None and (before.reason, before.run) == (reason, after.run):
        after = replace(after, reason=reason)
    elif after is not None:
        after = replace(after, reason=reason, decision=why)
        lines = (
            *lines,
            Line(task=after.task, instance=after.instance, state=state, reason=reason),
        )
    return replace(decided, after=after, lines=lines, place=None)


def hold(decided: Decision, reason: str) -> Decision:
    """The decision where it might leave its node, and may not yet: it stays as it is, and says why."""
    after, lines = decided.after, decided.lines
    if after is not None and decided.view.instance.reason != reason:
        node = decided.view.grants[after.epoch].node
        line = Line(
            task=after.task,
            instance=after.instance,
            epoch=after.epoch,
            node=node,
            state="waiting",
            reason=reason,
        )
        lines = (*lines, line)
    after = None if after is None else replace(after, reason=reason)
    return replace(decided, after=after, lines=lines, place=None)
