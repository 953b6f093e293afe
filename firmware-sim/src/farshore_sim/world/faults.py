"""What shall happen in a world: a plan, drawn from a seed, and as plain data to be kept and shrunk.

Pure. Each seed allows itself only some kinds of faults (swarm testing: what always happens hides
what needs its absence). What a kind does stands in ``injector.py``.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec
import orjson

from farshore_sim.errors import SimError

Broker = Literal["embedded", "external"]
BROKERS: tuple[Broker, ...] = ("embedded", "external")
SMALL_QUOTA_BYTES = 4_000
IN_A_ROW = 0.6
"""How many faults follow closely on the one before: what breaks, breaks in combination."""
FIRST_COPY_S = 2.0
NEAR_S = (0.3, 3.0, 15.0)
"""How closely, on average: within a command's first moments, a commit, a reconnection."""
WITH_TASKS = 0.08
"""In how many worlds tasks run as well."""
HEARTBEATS_S = (5.0, 10.0, 30.0)


class PlanError(SimError):
    """A file that holds no plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """``node``: its index, -1 for none or all. ``a`` and ``b``: how hard it hits, 0 to 1.

    ``for_s``: how long it lasts; of a thing that goes back in time: how far.
    """

    at_s: float
    kind: str
    node: int = -1
    for_s: float = 0.0
    a: float = 0.0
    b: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole world: the same plan always runs the same way, to the byte.

    ``memory_first``: samples stay in memory while the link is good. ``sites``: the groups that the nodes
    are in, by turns; 0: no group, and no tasks.
    """

    seed: int
    nodes: int
    hours: float
    broker: Broker
    quota_bytes: int | None = None
    memory_first: bool = False
    faults: tuple[Fault, ...] = ()
    sites: int = 0
    heartbeat_s: float = 30.0

    def site(self, node: int) -> str:
        """The group of the node with this index."""
        return f"site-{node % self.sites + 1}" if self.sites else ""

    @property
    def end_s(self) -> float:
        return self.hours * 3600

    def copies(self) -> tuple[tuple[float, Fault], ...]:
        """When a copy is made for a fault that goes back to it."""
        back = [fault for fault in self.faults if fault.kind in ("rewound", "center_restored")]
        return tuple((max(fault.at_s - fault.for_s, FIRST_COPY_S), fault) for fault in back)

    def has(self, *kinds: str) -> bool:
        return any(fault.kind in kinds for fault in self.faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """``for_s``: the shortest and the longest; ``load``: no fault, and in every world. ``tasks``: where
    tasks run alone."""

    summary: str
    weight: int = 4
    node: bool = True
    for_s: tuple[float, float] = (1.0, 600.0)
    brokers: tuple[Broker, ...] = BROKERS
    load: bool = False
    tasks: bool = False


KINDS: Mapping[str, Kind] = {
    "command": Kind(summary="a command for one node or all", weight=10, for_s=(10, 900), load=True),
    "cancel": Kind(summary="the newest command is cancelled", weight=3, node=False, load=True),
    "event": Kind(summary="a node has something to tell", weight=4, load=True),
    "cut": Kind(summary="a connection breaks, and may be made again at once", weight=6),
    "partition": Kind(summary="a node can't be reached; each end notices late", weight=6),
    "slow_line": Kind(summary="messages of a node take up to seconds"),
    "doubles": Kind(summary="messages of QoS 1 come twice, to a node or to all"),
    "crash": Kind(summary="an agent is killed, and started again", weight=8),
    "restart": Kind(summary="an agent is stopped orderly, and started again"),
    "wipe": Kind(summary="an agent is killed and finds an empty disk", weight=2),
    "retire": Kind(summary="a node is gone for good", weight=1),
    "clock_jump": Kind(summary="a node's wall clock is set: 1970, in ten years, an hour back"),
    "drift": Kind(summary="a node's clocks run too fast or too slow"),
    "slow_disk": Kind(summary="a node's commits take up to seconds"),
    "failing_disk": Kind(summary="a node's commits fail"),
    "center_crash": Kind(summary="the center is killed, and started again", weight=8, node=False),
    "center_restart": Kind(summary="the center is stopped orderly, and started again", node=False),
    "center_disk": Kind(summary="the center's commits fail", node=False, for_s=(1, 120)),
    "center_slow": Kind(summary="the center's commits take up to seconds", node=False),
    "center_clock": Kind(summary="the center's wall clock is set by seconds", weight=2, node=False),
    "rewound": Kind(
        summary="a node ends, and finds its disk as it was some time before",
        weight=3,
        for_s=(0.5, 900.0),
    ),
    "center_restored": Kind(
        summary="the center is killed, and its store set back to what it was some time before",
        weight=3,
        node=False,
        for_s=(0.5, 900.0),
    ),
    "center_cut": Kind(
        summary="the center's line to its broker breaks", node=False, brokers=("external",)
    ),
    "broker": Kind(
        summary="the broker is killed, and may come back without what it retained",
        node=False,
        brokers=("external",),
    ),
    "task": Kind(summary="a task is made or changed", weight=7, node=False, tasks=True, load=True),
    "task_stop": Kind(summary="a task is stopped, and started again", node=False, tasks=True),
    "task_restart": Kind(summary="a task is begun anew", node=False, tasks=True),
    "task_delete": Kind(summary="a task is deleted", weight=2, node=False, tasks=True),
    "drain": Kind(summary="a node is drained, and takes work again", tasks=True),
    "program_dies": Kind(summary="a node's programs are killed", weight=6, tasks=True),
    "reboot": Kind(summary="a machine loses its power, and begins anew", weight=6, tasks=True),
    "frozen": Kind(
        summary="an agent is stopped without a word, and goes on", for_s=(0.3, 300.0), tasks=True
    ),
    "site_cut": Kind(summary="no node of a site can be reached", weight=5, tasks=True),
    "one_way": Kind(
        summary="one direction of a line is cut, and what was sent arrives late",
        weight=5,
        for_s=(1.0, 120.0),
        tasks=True,
    ),
}


def draw(seed: int, *, nodes: int, hours: float, tasks: bool | None = None) -> Plan:
    """``tasks``: whether tasks run in it; None: as the seed has it."""
    rng = random.Random(f"{seed}/plan")  # noqa: S311 # replayable, no secret
    broker = rng.choice(BROKERS)
    faults = _drawn(rng, broker, nodes=nodes, hours=hours)
    plan = Plan(
        seed=seed,
        nodes=nodes,
        hours=hours,
        broker=broker,
        quota_bytes=SMALL_QUOTA_BYTES if rng.random() < 0.15 else None,
        memory_first=rng.random() < 0.5,
        faults=_in_order(faults),
    )
    # Drawn apart: what happens in a world without tasks does not depend on them.
    rng = random.Random(f"{seed}/tasks")  # noqa: S311 # replayable, no secret
    chosen = rng.random() < WITH_TASKS
    return _with_tasks(plan, rng) if (chosen if tasks is None else tasks) else plan


def _drawn(rng: random.Random, broker: Broker, *, nodes: int, hours: float) -> list[Fault]:
    names = [name for name, kind in KINDS.items() if broker in kind.brokers and not kind.tasks]
    allowed = [name for name in names if KINDS[name].load or rng.random() < 0.45]
    weights = [KINDS[name].weight for name in allowed]
    count = rng.randint(10, 10 + round(40 * math.sqrt(hours)))
    faults: list[Fault] = []
    for name in rng.choices(allowed, weights, k=count):
        near = faults[-1] if faults and rng.random() < IN_A_ROW else None
        faults.append(_fault(rng, name, near, nodes=nodes, end_s=hours * 3600))
    return faults


def _with_tasks(plan: Plan, rng: random.Random) -> Plan:
    """The same world with tasks from its first minutes on, and what happens to them and to their
    machines, often close to what happens anyway."""
    end_s = plan.end_s
    faults = [
        Fault(
            at_s=round(rng.uniform(20, min(180.0, end_s)), 3),
            kind="task",
            a=round(rng.random(), 3),
            b=round(rng.random(), 3),
        )
        for _ in range(rng.randint(2, 4))
    ]
    names = [name for name, kind in KINDS.items() if kind.tasks]
    allowed = [name for name in names if KINDS[name].load or rng.random() < 0.5]
    weights = [KINDS[name].weight for name in allowed]
    count = rng.randint(8, 8 + round(25 * math.sqrt(plan.hours)))
    for name in rng.choices(allowed, weights, k=count):
        near = rng.choice((*plan.faults, *faults)) if rng.random() < IN_A_ROW else None
        faults.append(_fault(rng, name, near, nodes=plan.nodes, end_s=end_s))
    return replace(
        plan,
        faults=_in_order([*plan.faults, *faults]),
        sites=rng.randint(1, max(1, plan.nodes - 1)),
        heartbeat_s=rng.choice(HEARTBEATS_S),
    )


def _in_order(faults: list[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(faults, key=lambda fault: fault.at_s))


def _fault(rng: random.Random, name: str, near: Fault | None, *, nodes: int, end_s: float) -> Fault:
    """``near``: the fault that it follows within seconds, at the same node if it may."""
    kind = KINDS[name]
    low, high = (math.log(seconds) for seconds in kind.for_s)
    at_s, node = rng.uniform(1.0, end_s), rng.randrange(nodes)
    if near is not None:
        at_s = min(near.at_s + rng.expovariate(1 / rng.choice(NEAR_S)), end_s)
        node = near.node if near.node >= 0 and rng.random() < 0.8 else node
    everyone = name == "command" and rng.random() < 0.3
    return Fault(
        at_s=round(at_s, 3),
        kind=name,
        node=node if kind.node and not everyone else -1,
        for_s=round(math.exp(rng.uniform(low, high)), 3),
        a=round(rng.random(), 3),
        b=round(rng.random(), 3),
    )


def dump(plan: Plan) -> bytes:
    return orjson.dumps(plan, option=orjson.OPT_INDENT_2)


def read(path: Path) -> Plan:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Plan)
    except (OSError, msgspec.MsgspecError) as exc:
        raise PlanError(f"plan {path}: {exc}") from exc
