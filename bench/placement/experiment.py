"""The experiment of "Beware of Fragmentation" (Weng et al., USENIX ATC 2023), one run of it.

All tasks of the trace come in a random order, then more, drawn from them with replacement, until the next
would bring what they ask for above 130 % of the GPUs that there are. Nothing departs; a task that fits
nowhere is dropped. The nodes stand in a random order, too: it decides between equal ones.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from farshore_center.placement import (
    Affinity,
    Choice,
    Data,
    Demand,
    Link,
    NodeCapacity,
    Policy,
    Pool,
    RunTime,
    choose,
    preempt,
)
from farshore_center.placement.fgd import TaskMix

from bench.placement.trace import WHOLE, Trace

ARRIVED = 1.3
GIB = 1 << 30
MOST_TRIED = 20_000
"""A trace whose tasks always find room comes to an end, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """``allocated_pct``: of all GPUs, at the end. The times are of all decisions with their booking."""

    allocated_pct: float
    decisions: int
    dropped: int
    wall_s: float
    cpu_s: float


def run(trace: Trace, policy: Policy, seed: int) -> Run:
    rng = random.Random(seed)  # noqa: S311 # a run that can be repeated
    pool = Pool(shuffled(trace.nodes, rng), mix=TaskMix.of(trace.tasks))
    arriving = arrivals(trace, rng)
    used = dropped = 0
    choose(pool, arriving[0], policy)  # the pool's columns are made once, and not by a decision
    wall, cpu = time.perf_counter(), time.process_time()
    for number, demand in enumerate(arriving):
        choice = choose(pool, demand, policy)
        if isinstance(choice, Choice):
            pool.place(str(number), demand, choice.node, choice.gpus)
            used += demand.gpu_total_milli
        else:
            dropped += 1
    return Run(
        allocated_pct=100 * used / (trace.gpus * WHOLE),
        decisions=len(arriving),
        dropped=dropped,
        wall_s=time.perf_counter() - wall,
        cpu_s=time.process_time() - cpu,
    )


def shuffled(nodes: Sequence[NodeCapacity], rng: random.Random) -> list[NodeCapacity]:
    """The nodes with names whose order is random."""
    places = rng.sample(range(len(nodes)), len(nodes))
    return [
        replace(node, node=f"{place:06d}-{node.node}")
        for place, node in zip(places, nodes, strict=True)
    ]


def arrivals(trace: Trace, rng: random.Random) -> list[Demand]:
    asked, most = sum(task.gpu_total_milli for task in trace.tasks), ARRIVED * trace.gpus * WHOLE
    arriving = rng.sample(trace.tasks, len(trace.tasks))
    if not asked:
        return arriving
    while asked > most:
        asked -= arriving.pop().gpu_total_milli
    while True:
        task = rng.choice(trace.tasks)
        asked += task.gpu_total_milli
        if asked > most:
            return arriving
        arriving.append(task)


def particular(trace: Trace, policy: Policy, seed: int, count: int) -> Run:
    """Decisions in which everything counts that is of one task alone: a selector, likes, data at one
    node, measured run times, a deadline. Every fourth node is of the core."""
    rng = random.Random(seed)  # noqa: S311 # a run that can be repeated
    nodes = [
        replace(
            node,
            group="core" if at % 4 == 0 else f"eu/site-{at % 20}",
            link=Link(up_bytes_s=1e6, down_bytes_s=4e6, latency_s=0.05, measured=True),
        )
        for at, node in enumerate(shuffled(trace.nodes, rng))
    ]
    names = [node.node for node in nodes]
    selectors = [frozenset(rng.sample(names, len(names) // 2)) for _ in range(10)]
    times = {
        "edge": RunTime(mean_s=300, p95_s=500, count=9),
        "core": RunTime(mean_s=100, p95_s=200, count=9),
    }
    demands = [
        replace(
            rng.choice(trace.tasks),
            eligible=rng.choice(selectors),
            affinities=(Affinity(nodes=rng.choice(selectors), weight=1),),
            reads=(Data(node=rng.choice(names), size_bytes=rng.randrange(GIB)),),
            run_times=times,
            deadline_s=5_000,
        )
        for _ in range(count)
    ]
    pool = Pool(nodes, mix=TaskMix.of(trace.tasks))
    choose(pool, demands[0], policy)
    dropped, wall, cpu = 0, time.perf_counter(), time.process_time()
    for number, demand in enumerate(demands):
        choice = choose(pool, demand, policy)
        if isinstance(choice, Choice):
            pool.place(str(number), demand, choice.node, choice.gpus)
        else:
            dropped += 1
    return Run(
        allocated_pct=0.0,
        decisions=count,
        dropped=dropped,
        wall_s=time.perf_counter() - wall,
        cpu_s=time.process_time() - cpu,
    )


def pushing(trace: Trace, policy: Policy, seed: int, count: int) -> list[float]:
    """Milliseconds that it takes to find who gives way, of so many tasks that fit nowhere; each then takes
    that place. The nodes are full of tasks whose priorities are 0 to 40; the tasks that come have 60."""
    rng = random.Random(seed)  # noqa: S311 # a run that can be repeated
    pool = Pool(shuffled(trace.nodes, rng), mix=TaskMix.of(trace.tasks))
    for number, demand in enumerate(arrivals(trace, rng)):
        weak = replace(demand, priority=10 * rng.randrange(5))
        choice = choose(pool, weak, policy)
        if isinstance(choice, Choice):
            pool.place(str(number), weak, choice.node, choice.gpus)
    taken: list[float] = []
    for number in range(MOST_TRIED):
        demand = replace(rng.choice(trace.tasks), priority=60)
        choice = choose(pool, demand, policy)
        if isinstance(choice, Choice):
            pool.place(f"strong-{number}", demand, choice.node, choice.gpus)
            continue
        began = time.perf_counter()
        found = preempt(pool, demand, policy)
        taken.append(1000 * (time.perf_counter() - began))
        if found is not None:
            for victim in found.victims:
                pool.remove(victim.task)
            pool.place(f"strong-{number}", demand, found.node, found.gpus)
        if len(taken) == count:
            break
    return taken
