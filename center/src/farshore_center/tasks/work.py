"""The sheet on which ``engine`` works: an instance, its grants, the world, and what was decided so far."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from farshore_center.tasks.claims import Push
from farshore_center.tasks.lifecycle import PLACED
from farshore_center.tasks.records import Granted, Instance, Key, Line, Task
from farshore_center.tasks.sites import UNKNOWN, Sight


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """``grants``: by epoch: those that have not ended, and the current one."""

    task: Task
    instance: Instance
    grants: Mapping[int, Granted] = field(default_factory=dict)


def _never(_of: object) -> float:
    return float("-inf")


def _always(_task: str) -> bool:
    return True


def _nobody(_key: Key, _epoch: int) -> Push | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """``lease_over_s``: when a grant's lease is surely over, on the monotonic clock; ``forgotten_s``: the
    same of a grant that this center does not know, by the lease's length. ``may_disrupt``: whether
    one more instance of the task may be ended now; it counts. ``push_on``: why this grant is to end, if it
    is. ``answer_s``: what an online node has to say a word of a grant; ``slow_s``: a grant that takes longer
    to run is told of."""

    now_ms: int
    now_s: float
    sights: Mapping[str, Sight] = field(default_factory=dict)
    lease_over_s: Callable[[Granted], float] = _never
    forgotten_s: Callable[[float], float] = _never
    may_disrupt: Callable[[str], bool] = _always
    push_on: Callable[[Key, int], Push | None] = _nobody
    answer_s: float = 90.0
    slow_s: float = 60.0

    def sight(self, node: str) -> Sight:
        return self.sights.get(node, UNKNOWN)


MOST_AVOIDED = 16
UNANSWERED = "its node is heard, and has said nothing of this grant within"


class Work:
    def __init__(self, view: View, world: World) -> None:
        self.view = view
        self.world = world
        self.instance = view.instance
        self._grants = dict(view.grants)
        self.lines: list[Line] = []
        self.look_s: float | None = None
        self.look_ms: int | None = None
        self.awaited: set[str] = set()

    # Grants

    @property
    def current(self) -> Granted | None:
        return self._grants.get(self.instance.epoch)

    def live(self) -> list[Granted]:
        return [each for each in self._grants.values() if not each.final]

    def changed(self) -> tuple[Granted, ...]:
        before = self.view.grants
        return tuple(each for each in self._grants.values() if before.get(each.epoch) != each)

    def put(self, grant: Granted) -> None:
        self._grants[grant.epoch] = grant

    def stop(self, grant: Granted, why: str) -> None:
        if grant.want != "stop":
            self.put(grant.stopped(why))
            self.line("stopping", grant, why)

    def give_way(self, grant: Granted, push: Push) -> None:
        """It is pushed out, or moved: that is the last decision on it, until it has a place again."""
        self.put(grant.stopped(push.why))
        self.line(push.state, grant, push.reason)
        self.instance = replace(self.instance, reason=push.reason, decision=push.document)

    def leased(self, grant: Granted) -> bool:
        """Whether it may still run on its lease; it is looked at again when that is over."""
        if grant.final or not grant.lease_s:
            return False
        over_s = self.world.lease_over_s(grant)
        if self.world.now_s >= over_s:
            return False
        self.look_at_s(over_s)
        return True

    def free(self, grant: Granted) -> bool:
        """Whether its instance may be granted anew without two of them at work where that would harm."""
        return not self.leased(grant)

    def known(self) -> bool:
        """Whether no grant that was forgotten may still be at work on its lease."""
        contract = self.view.task.spec.disconnect
        if contract.on_disconnect != "stop":
            return True
        over_s = self.world.forgotten_s(contract.lost_after_s)
        if self.world.now_s >= over_s:
            return True
        self.look_at_s(over_s)
        return False

    # The instance

    def become(self, state: str, reason: str | None) -> None:
        if state != self.instance.state:
            PLACED.check(self.instance.state, state)
            self.instance = replace(self.instance, state=state, since_ms=self.world.now_ms)
            self.line(state, None, reason)
        self.instance = replace(self.instance, reason=reason)

    def wait(self, reason: str) -> None:
        """It stays as it is, and this is why."""
        self.instance = replace(self.instance, reason=reason)
        if self.view.instance.reason != reason:
            self.line("waiting", self.current, reason)

    def line(self, state: str, grant: Granted | None, reason: str | None = None) -> None:
        self.lines.append(
            Line(
                task=self.view.task.name,
                instance=self.instance.instance,
                epoch=None if grant is None else grant.epoch,
                node=None if grant is None else grant.node,
                state=state,
                reason=reason,
            )
        )

    # Time

    def look_at_s(self, moment_s: float) -> None:
        self.look_s = moment_s if self.look_s is None else min(self.look_s, moment_s)

    def look_at_ms(self, moment_ms: int) -> None:
        self.look_ms = moment_ms if self.look_ms is None else min(self.look_ms, moment_ms)

    # Nodes

    def look_at_nodes(self) -> None:
        """What is not heard of for too long is lost; what its node can't tell of any more is withdrawn."""
        for each in self.live():
            sight = self.world.sight(each.node)
            if not sight.known:
                if not self.leased(each):
                    self._lose(each, "withdrawn", "its node is not part of the fleet any more")
            elif sight.silent_since_s is not None and each.state != "lost":
                lost_s = sight.silent_since_s + self._lost_after_s(each)
                if self.world.now_s >= lost_s:
                    self._lose(each, "lost", "nothing was heard of its node")
                else:
                    self.look_at_s(lost_s)
            elif each.state == "granted":
                self._await_answer(each, sight)

    def _await_answer(self, grant: Granted, sight: Sight) -> None:
        """Its node is there, and should say that it has it; one that asks for its lease has it. A node with
        rare heartbeats may be cut off although it does not count as silent yet: it is judged when it is
        heard after it should have answered, or by its silence."""
        if self.leased(grant):
            return
        world = self.world
        since_s = max(sight.here_since_s, world.now_s - (world.now_ms - grant.granted_ms) / 1000)
        due_s = since_s + world.answer_s
        if world.now_s < due_s:
            self.look_at_s(due_s)
        elif sight.heard_s < due_s:
            self.awaited.add(grant.node)
        else:
            self._lose(grant, "lost", f"{UNANSWERED} {world.answer_s:g} s")
            avoid = tuple(dict.fromkeys((*self.instance.avoid, grant.node)))[-MOST_AVOIDED:]
            self.instance = replace(self.instance, avoid=avoid)

    def _lost_after_s(self, grant: Granted) -> float:
        return grant.lease_s or self.view.task.spec.disconnect.lost_after_s

    def _lose(self, grant: Granted, state: str, reason: str) -> None:
        self.put(grant.moved(state, self.world.now_ms, reason))
        self.line(state, grant, reason)
