"""What becomes of one instance of a task: placed, lost, replaced, stopped, tried again. Pure.

``decide`` looks at the instance, its grants that have not ended and what is known of their nodes. Where a
place is needed it says so (``place``); whoever finds one comes back with ``grant``, or with ``refused``.
A second look at what it has decided decides nothing.
"""

from dataclasses import replace

from farshore_center.tasks.claims import Push
from farshore_center.tasks.decision import Decision, Place, grant, leave, refused
from farshore_center.tasks.endings import Rules, calmed, failed, lapse, lapsed
from farshore_center.tasks.records import Granted
from farshore_center.tasks.sites import Drain
from farshore_center.tasks.work import View, Work, World

__all__ = ["Decision", "Place", "Rules", "decide", "grant", "leave", "refused"]


def decide(view: View, world: World, rules: Rules) -> Decision:
    work = Work(view, world)
    work.look_at_nodes()
    if not view.task.wants(view.instance.instance):
        gone = _end(work)
        return _decision(work, gone=gone)
    place = _anew(work, rules) if work.instance.run < view.task.run else _go_on(work, rules)
    _stop_others(work)
    return _decision(work, place=place)


def _decision(work: Work, *, gone: bool = False, place: Place | None = None) -> Decision:
    return Decision(
        view=work.view,
        after=None if gone else work.instance,
        grants=work.changed(),
        lines=tuple(work.lines),
        place=place,
        look_s=work.look_s,
        look_ms=work.look_ms,
        awaited=frozenset(work.awaited),
    )


# It is not to run


def _end(work: Work) -> bool:
    """Whether it is gone for good."""
    task = work.view.task
    forget = task.wanted == "delete" or work.instance.instance >= task.spec.count
    for each in work.live():
        work.stop(each, "removed" if forget else "asked")
    waiting = [each for each in work.live() if each.alive or work.leased(each)]
    if waiting:
        return False
    if forget:
        # Nobody knows of the lost ones; a document without them ends them when their nodes return.
        for each in work.live():
            work.put(each.moved("withdrawn", work.world.now_ms))
        return True
    if work.instance.state in ("pending", "active"):
        work.become("stopped", "asked")
    return False


# A person, or its cron rule, began it anew


def _anew(work: Work, rules: Rules) -> Place | None:
    task, current = work.view.task, work.current
    if current is not None and current.alive:
        if current.want == "run":
            if task.spec.kind == "service" and not work.world.may_disrupt(task.name):
                return None
            work.stop(current, "superseded")
        return None
    if current is not None and not current.final:
        if not work.free(current):
            return None
        work.stop(current, "superseded")
    if work.instance.state != "pending":
        work.become("pending", None)
    work.instance = replace(
        work.instance,
        run=task.run,
        revision=task.revision,
        failures=0,
        lapses=0,
        avoid=(),
        due_ms=0,
        attempt=0,
        reason=None,
        exit_code=None,
        result=None,
    )
    return _pending(work, rules)


# It goes on


def _go_on(work: Work, rules: Rules) -> Place | None:
    work.instance = replace(work.instance, revision=work.view.task.revision)
    if work.instance.state not in ("pending", "active"):
        return None
    _returned(work)
    if work.instance.state == "pending":
        return _pending(work, rules)
    current = work.current
    if current is None or current.final:
        return _ended(work, current, rules)
    if current.state == "lost":
        return _lost(work, current, rules)
    return _running(work, current)


def _pending(work: Work, rules: Rules) -> Place | None:
    deadline_ms = work.view.task.deadline_ms
    now_ms = work.world.now_ms
    if deadline_ms is not None and now_ms >= deadline_ms:
        work.become("failed", "its deadline has passed")
        return None
    if not rules.due(work.instance.due_ms, now_ms):
        work.look_at_ms(work.instance.due_ms)
        return None
    # Never two grants of which one may still hold a lease.
    if [each for each in work.live() if not work.free(each)] or not work.known():
        return None
    if deadline_ms is not None:
        work.look_at_ms(deadline_ms)
    return Place("placed")


def _lost(work: Work, current: Granted, rules: Rules) -> Place | None:
    calmed(work, current, rules)
    contract = work.view.task.spec.disconnect
    if not contract.replace:
        work.wait("its node is silent; its contract says that it is not replaced")
        return None
    if contract.silent_site == "wait" and work.world.sight(current.node).cut:
        work.wait("every node of its site is silent: a cut link; nothing is moved")
        return None
    if [each for each in work.live() if not work.free(each)]:
        work.wait("its node is silent; it is replaced when its lease is over")
        return None
    return Place("replaced")


def _running(work: Work, current: Granted) -> Place | None:
    if current.want == "stop":
        return None
    _tell_if_slow(work, current)
    push = work.world.push_on(work.instance.key, current.epoch)
    if push is not None:
        _give_way(work, current, push)
        return None
    drain = work.world.sight(current.node).drain
    return None if drain is None else _drained(work, current, drain)


def _tell_if_slow(work: Work, current: Granted) -> None:
    """A driver that hangs says nothing; this does."""
    if current.state not in ("received", "preparing", "starting"):
        work.instance = replace(work.instance, reason=None)
        return
    health, spec = work.view.task.spec.health, work.view.task.spec
    may_s = work.world.slow_s + (0.0 if health is None else health.start_s)
    since_s = (work.world.now_ms - current.since_ms) / 1000
    if since_s < may_s:
        work.look_at_s(work.world.now_s + may_s - since_s)
        work.instance = replace(work.instance, reason=None)
        return
    why = current.reason or f"the driver {spec.driver} may hang, its node has said no more"
    work.wait(f"{current.state} on {current.node} for more than {may_s:g} s: {why}")


def _give_way(work: Work, current: Granted, push: Push) -> None:
    task = work.view.task
    if task.spec.kind == "service" and not work.world.may_disrupt(task.name):
        if push.why == "moved":
            return
        work.wait(f"{push.reason}; it waits until no more of its task is down than may be")
        return
    work.give_way(current, push)


def _drained(work: Work, current: Granted, drain: Drain) -> Place | None:
    task = work.view.task
    if drain.until_ms is not None:
        if work.world.now_ms >= drain.until_ms:
            work.stop(current, "drained")
            return None
        work.look_at_ms(drain.until_ms)
    if task.spec.kind == "batch":
        work.wait("its node is drained; it may end there")
        return None
    return Place("drained")


def _ended(work: Work, current: Granted | None, rules: Rules) -> Place | None:
    if current is not None:
        calmed(work, current, rules)
    if current is not None and lapsed(current):
        lapse(work, current, rules)
    elif current is None or current.state in ("stopped", "withdrawn"):
        work.become("pending", None)
    elif current.state == "succeeded":
        work.become("done", None)
        work.instance = replace(work.instance, exit_code=current.exit_code)
        return None
    else:
        failed(work, current, rules)
    return _pending(work, rules) if work.instance.state == "pending" else None


# After a silence


def _returned(work: Work) -> None:
    """An original that is heard again takes its place back where the contract says so."""
    if work.view.task.spec.disconnect.on_reconnect != "keep_original":
        return
    back = [
        each
        for each in work.live()
        if each.epoch != work.instance.epoch
        and each.alive
        and each.want == "run"
        and not each.lease_s
        and each.run == work.view.task.run
        and each.state != "granted"
    ]
    if not back:
        return
    original = min(back, key=lambda each: each.epoch)
    if work.current is not None and not work.current.final:
        work.stop(work.current, "superseded")
    if work.instance.state == "pending":
        work.become("active", None)
    work.instance = replace(work.instance, epoch=original.epoch, reason=None)
    work.line("kept", original)


def _stop_others(work: Work) -> None:
    """Only one grant is current; another that may still run is told to end, unless it is an original that
    would take its place back."""
    keep = work.view.task.spec.disconnect.on_reconnect == "keep_original"
    at_work = work.instance.state in ("pending", "active")
    for each in work.live():
        if each.epoch == work.instance.epoch and at_work:
            continue
        if keep and at_work and each.state == "lost" and not each.lease_s:
            continue
        work.stop(each, "superseded")
