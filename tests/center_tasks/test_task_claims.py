"""Preemption comes to an end whatever priorities meet: a small fleet is played in memory."""

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import orjson
import pytest
from farshore_center.nodes.registry import Registry
from farshore_center.placement import Demand, NodeCapacity, Pool, fits
from farshore_center.tasks import engine
from farshore_center.tasks.books import Books
from farshore_center.tasks.budget import Budget
from farshore_center.tasks.claims import Claim, Claims, Victim, gave_way, label_of, stored_claim
from farshore_center.tasks.leases import Leases
from farshore_center.tasks.placing import Placing
from farshore_center.tasks.records import Granted, Instance, Key, Task
from farshore_center.tasks.rounds import TaskCounts
from farshore_center.tasks.settings import TaskSettings
from farshore_center.tasks.sites import Sight
from farshore_center.tasks.work import View, World
from farshore_protocol.tasks import Requests, TaskSpec
from hypothesis import given, settings
from hypothesis import strategies as st

DISTANCE = 10
STEPS = 2_000


@dataclass
class Fleet:
    """``pushes``: (who, whom) with their priorities, in their order."""

    cores: tuple[int, ...]
    now_s: float = 0.0
    tasks: dict[Key, Task] = field(default_factory=dict)
    instances: dict[Key, Instance] = field(default_factory=dict)
    grants: dict[Key, dict[int, Granted]] = field(default_factory=dict)
    pushes: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        nothing: Any = None
        self.books = Books(nothing, Registry(), nothing, rng=Random(0))
        for number, cores in enumerate(self.cores):
            self.books.pool.set_node(NodeCapacity(node=f"n{number}", cpu_milli=cores * 1000))
        self.claims = Claims(self.books.pool)
        leases = Leases(now_s=lambda: self.now_s)
        self.placing = Placing(
            self.books, self.claims, leases, TaskSettings(preempt_distance=DISTANCE), TaskCounts()
        )
        self.sights = {f"n{number}": Sight() for number in range(len(self.cores))}
        self.books._known["all"] = None

    def add(self, priority: int, cores: int) -> Key:
        key = (f"t{len(self.tasks)}", 0)
        requests = Requests(cpu_cores=float(cores), memory_bytes=0)
        spec = TaskSpec(kind="batch", driver="process", priority=priority, requests=requests)
        self.tasks[key] = Task(name=key[0], revision=1, spec=spec, digest="d")
        self.instances[key] = Instance(task=key[0], instance=0)
        self.grants[key] = {}
        return key

    def look(self, key: Key) -> None:
        now_ms = round(self.now_s * 1000)
        task, live = self.tasks[key], self.grants[key]
        self.books.follow(key, live.values(), {1: task.spec}, task.spec.priority)
        world = World(
            now_ms=now_ms, now_s=self.now_s, sights=self.sights, push_on=self.claims.push_on
        )
        view = View(task=task, instance=self.instances[key], grants=dict(live))
        decision = engine.decide(view, world, TaskSettings().rules)
        decision = self.placing.place(decision, {}, Budget({}), now_ms=now_ms, now_s=self.now_s)
        assert decision.after is not None
        self.instances[key] = decision.after
        for each in decision.grants:
            self.books.note(each)
            if each.state == "granted" and each.want == "run":
                each = each.moved("running", now_ms)
            live[each.epoch] = each
        for line in decision.lines:
            if line.state == "preempted":
                by = gave_way(decision.after.decision)
                assert by is not None
                self.pushes.append((by["by"]["priority"], task.spec.priority))

    def ending(self) -> list[Granted]:
        return [
            each
            for held in self.grants.values()
            for each in held.values()
            if each.want == "stop" and not each.final
        ]

    def end(self, grant: Granted) -> None:
        ended = grant.moved("stopped", round(self.now_s * 1000))
        self.grants[grant.of][grant.epoch] = ended
        self.look(grant.of)

    def settle(self, rng: Random) -> None:
        """Everybody is looked at, in any order, until nothing changes; what is to end does so at any time."""
        for _ in range(STEPS):
            self.now_s += 20
            before = (dict(self.instances), {key: dict(each) for key, each in self.grants.items()})
            keys = [*self.instances]
            rng.shuffle(keys)
            for key in keys:
                self.look(key)
                for grant in self.ending():
                    if rng.random() < 0.3:
                        self.end(grant)
                for pushed in sorted(self.placing.take_pushed()):
                    self.look(pushed)
                self.check()
            if not self.ending() and before == (self.instances, self.grants):
                return
        raise AssertionError("it never comes to an end")

    def check(self) -> None:
        for number, cores in enumerate(self.cores):
            used = sum(
                self.tasks[key].spec.requests.cpu_cores
                for key, held in self.grants.items()
                for each in held.values()
                if each.node == f"n{number}" and not each.final
            )
            assert used <= cores


WORK = st.lists(st.tuples(st.integers(0, 100), st.integers(1, 4)), min_size=1, max_size=9)


@settings(max_examples=60, deadline=None)
@given(WORK, st.lists(st.integers(1, 4), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_any_sequence_of_priorities_comes_to_an_end(
    work: list[tuple[int, int]], cores: list[int], rng: Random
) -> None:
    fleet = Fleet(tuple(cores))
    for priority, amount in work:
        fleet.add(priority, amount)
        fleet.settle(rng)
    # Along a chain priorities fall by the distance, so it never comes back to who began it.
    assert all(by - of >= DISTANCE for by, of in fleet.pushes)
    # Each that comes can push everybody once, and nobody comes back at the cost of who pushed it.
    assert len(fleet.pushes) <= len(work) ** 2
    # No claim is left: all that pushed have found a place, and nothing is kept for nobody.
    waiting = {key for key, each in fleet.instances.items() if each.state == "pending"}
    assert not [key for key in waiting if fleet.claims.of(key)]


@pytest.mark.parametrize("ends_last", [False, True], ids=["the victim first", "the victim last"])
def test_a_pushes_b_pushes_c_and_nothing_comes_back(ends_last: bool) -> None:
    fleet = Fleet((1, 1))
    keys = [fleet.add(priority, 1) for priority in (10, 10)]
    for key in keys:
        fleet.look(key)
    middle, high = fleet.add(40, 1), fleet.add(80, 1)
    for key in (middle, high) if ends_last else (high, middle):
        fleet.look(key)
    fleet.settle(Random(1))
    states = [fleet.instances[key].state for key in (*keys, middle, high)]
    assert states == ["pending", "pending", "active", "active"]
    assert len(fleet.pushes) == 2


def test_a_kept_place_is_given_up_for_somebody_stronger_and_nothing_ends_for_that() -> None:
    fleet = Fleet((2,))
    low = fleet.add(10, 2)
    fleet.look(low)
    middle = fleet.add(40, 2)
    fleet.look(middle)
    fleet.look(low)
    assert fleet.claims.of(middle) is not None
    high = fleet.add(80, 2)
    fleet.look(high)
    assert fleet.claims.of(middle) is None
    assert fleet.claims.of(high) is not None
    fleet.settle(Random(2))
    assert fleet.instances[high].state == "active"
    assert fleet.pushes == [(40, 10)]


def test_a_claim_is_stored_and_read_again() -> None:
    claim = Claim(
        key=("a", 0), node="n1", gpus=(1,), why="preempted", priority=90,
        victims=(Victim("b", 2, 7, 10),),
    )  # fmt: skip
    text = orjson.dumps({"policy": "default", "claim": claim.document()}).decode()
    assert stored_claim(("a", 0), text) == claim
    assert stored_claim(("a", 0), None) is None
    assert stored_claim(("a", 0), '{"node": "n1"}') is None


def test_a_claim_holds_its_place_and_gives_all_of_it_back() -> None:
    pool = Pool([NodeCapacity(node="n1", cpu_milli=2000)])
    claims = Claims(pool)
    claim = Claim(key=("a", 0), node="n1", gpus=(), why="preempted", priority=90, victims=())
    claims.make(claim, Demand(cpu_milli=1500))
    assert not fits(pool, Demand(cpu_milli=501), "n1")
    assert fits(pool, Demand(cpu_milli=500), "n1")
    assert claims.release(("a", 0)) == claim
    assert claims.release(("a", 0)) is None
    assert fits(pool, Demand(cpu_milli=2000), "n1")
    assert label_of(("a", 0)) not in pool.placements
    claims.make(replace(claim, node="gone"), Demand())
    assert claims.of(("a", 0)) is None
