"""What becomes of an instance: the rules of leases, silences and results, over worlds that Hypothesis makes.

A small world is played: nodes fall silent and return, say what they hold, lease or lease not; the engine
decides after every step. What must never happen is looked for after each.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from center_tasks.engine_world import NODES, RULES, contract, spec, task
from farshore_center.tasks import engine
from farshore_center.tasks.engine import Decision, decide
from farshore_center.tasks.hearing import Moment, hear
from farshore_center.tasks.leases import Leases
from farshore_center.tasks.records import Granted, Instance
from farshore_center.tasks.sites import Sight
from farshore_center.tasks.work import View, World
from farshore_protocol.tasks import LeaseRequest, TaskEvent, TaskSpec
from hypothesis import example, given
from hypothesis import strategies as st


@dataclass
class Played:
    """A center and three nodes with one instance. ``running``: what each node has, until when at most."""

    spec: TaskSpec
    now_s: float = 1000.0
    instance: Instance = field(default_factory=lambda: Instance(task="t", instance=0))
    grants: dict[int, Granted] = field(default_factory=dict)
    silent: dict[str, float] = field(default_factory=dict)
    known: dict[str, list[Granted]] = field(default_factory=lambda: {node: [] for node in NODES})
    leased_until_s: dict[int, float] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    accepted: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.leases = Leases(now_s=lambda: self.now_s)

    def runs(self, epoch: int, node: str) -> bool:
        """Whether the node has it at work now, by its own clock."""
        if epoch in self.done or all(each.epoch != epoch for each in self.known[node]):
            return False
        lease_s = self.grants[epoch].lease_s
        return not lease_s or self.now_s < self.leased_until_s.get(epoch, 0.0)

    def overlapping(self) -> int:
        return sum(self.runs(each.epoch, node) for node in NODES for each in self.known[node])

    def decide(self, target: str) -> Decision:
        view = View(
            task=task(self.spec),
            instance=self.instance,
            grants={
                epoch: grant
                for epoch, grant in self.grants.items()
                if not grant.final or epoch == self.instance.epoch
            },
        )
        sights = {node: Sight(silent_since_s=self.silent.get(node)) for node in NODES}
        looked = World(
            now_ms=round(self.now_s * 1000),
            now_s=self.now_s,
            sights=sights,
            lease_over_s=self.leases.over_s,
        )
        found = decide(view, looked, RULES)
        if found.place is not None and target not in self.silent:
            found = engine.grant(found, target, (), looked.now_ms, None)
            self.leases.granted(found.grants[-1])
        elif found.place is not None:
            found = engine.refused(found, "nowhere", None)
        self.take(found)
        return found

    def take(self, found: Decision) -> None:
        assert found.after is not None
        self.grants |= {grant.epoch: grant for grant in found.grants}
        self.instance = found.after
        current = self.grants.get(self.instance.epoch)
        self.leases.close(("t", 0))
        if current is not None and current.want == "run" and not current.final:
            self.leases.open(current)

    def deliver(self, node: str) -> None:
        """The node has its newest document, and says what it has."""
        if node in self.silent:
            return
        mine = [each for each in self.grants.values() if each.node == node and not each.final]
        self.known[node] = [each for each in mine if each.want == "run"]
        for each in mine:
            stopped = each.want == "stop" or each.epoch in self.done
            state = "stopped" if stopped else "running"
            self.say(each, state)

    def renew(self, node: str) -> None:
        if node in self.silent:
            return
        for each in self.known[node]:
            ask = LeaseRequest(boot="b", up_ms=0, held=(("t", 0, each.epoch),))
            if each.lease_s and b'"renewed":[]' not in self.leases.answer(node, ask).payload:
                # By the fastest clock that the drift allows, from when it asked.
                self.leased_until_s[each.epoch] = self.now_s + each.lease_s * 1.004

    def finish(self, node: str) -> None:
        """It ends well, and says so, late or at once."""
        for each in list(self.known[node]):
            if self.runs(each.epoch, node):
                self.done.add(each.epoch)
                if node not in self.silent:
                    self.say(self.grants[each.epoch], "succeeded")

    def say(self, grant: Granted, state: Any) -> None:
        word = TaskEvent(
            task="t",
            instance=0,
            attempt=grant.attempt,
            epoch=grant.epoch,
            state=state,
            at_ms=0,
            result=grant.epoch,
        )
        found = hear(self.instance, grant, word, Moment(round(self.now_s * 1000)), batch=True)
        self.accepted += [grant.epoch] if found.accepted else []
        self.instance, self.grants[grant.epoch] = found.instance, found.grant


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["pass", "silence", "return", "deliver", "renew", "finish", "decide"]),
        st.sampled_from(NODES),
        st.floats(0, 15),
    ),
    max_size=60,
)


def play(played: Played, steps: list[tuple[str, str, float]]) -> None:
    for what, node, amount in steps:
        match what:
            case "pass":
                played.now_s += amount
            case "silence":
                played.silent.setdefault(node, played.now_s)
            case "return":
                played.silent.pop(node, None)
            case "deliver":
                played.deliver(node)
            case "renew":
                played.renew(node)
            case "finish":
                played.finish(node)
            case _:
                played.decide(node)
                again = played.decide(node)
                assert not again.changed
        assert len(played.accepted) <= 1
        if played.spec.disconnect.on_disconnect == "stop":
            assert played.overlapping() <= 1


REPLACED_TOO_EARLY = [
    ("silence", "n1", 0.0),
    ("pass", "n1", 10.0),
    ("decide", "n2", 0.0),
    ("deliver", "n2", 0.0),
    ("renew", "n2", 0.0),
]
"""It is lost to the second at which its lease ends by the center's clock, and its own clock is slower."""


@given(steps=STEPS)
@example(steps=REPLACED_TOO_EARLY)
def test_two_runs_on_leases_never_overlap_and_one_result_is_accepted(
    steps: list[tuple[str, str, float]],
) -> None:
    played = Played(spec(kind="batch", disconnect=contract("stop")))
    play(played, [("decide", "n1", 0.0), ("deliver", "n1", 0.0), ("renew", "n1", 0.0), *steps])


@given(
    steps=STEPS,
    back=st.sampled_from(["keep_original", "keep_replacement"]),
    replaced=st.booleans(),
)
def test_without_leases_one_result_is_accepted_and_a_second_look_decides_nothing(
    steps: list[tuple[str, str, float]], back: str, replaced: bool
) -> None:
    of = contract(on_reconnect=back, replace=replaced)
    played = Played(spec(kind="batch", disconnect=of))
    play(played, [("decide", "n1", 0.0), ("deliver", "n1", 0.0), *steps])


def test_an_epoch_only_grows_whatever_the_clock_says() -> None:
    played = Played(spec(kind="batch", disconnect=contract()))
    played.decide("n1")
    played.now_s = 10.0
    played.instance = replace(played.instance, state="pending", epoch=0)
    played.decide("n2")
    assert played.instance.last_epoch == 1_000_001
