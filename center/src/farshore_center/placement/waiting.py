"""Whether a batch had better wait for a node that is full now: the queue in its expected completion. Pure.

Its data may lie at a node that is busy for some seconds more, and take hours to anywhere else. The wait there
ends when enough of what is held has ended; only ends that somebody has reckoned count (``End``), and all
else is taken to stay for ever. Who waits there already counts as held from now until it is done, as in the
conservative backfilling of batch systems (Mu'alem and Feitelson, IEEE TPDS 2001). A wait must be clearly
better than to go now. Ends may come later than expected, again and again, so nothing waits for longer in all
than it would have taken elsewhere: at worst it takes twice as long as if it had gone at once, as in the ski
rental of online algorithms (Karlin et al., 1988).
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from farshore_center.placement.choose import DEFAULT
from farshore_center.placement.columns import Bools, Floats
from farshore_center.placement.cost import UNKNOWN, Cost, weakest
from farshore_center.placement.decisions import End, Figure, Origin, Placement
from farshore_center.placement.filters import CODE
from farshore_center.placement.judge import Judgement, hosts, judge
from farshore_center.placement.model import Demand, NodeCapacity
from farshore_center.placement.policies import Policy
from farshore_center.placement.pool import Pool
from farshore_center.placement.room import Beside, gpus_with

ROOM = ("cpu", "memory", "disk", "gpu", "devices")
"""The filters whose refusal ends when something else does."""

CLEARLY = 1.25
"""To go now must take so many times as long as to wait ..."""
CLEARLY_S = 2.0
"""... and so many seconds longer."""
LOOKED_AT = 16
"""Of the full nodes, so many are looked at: those on which it would be done soonest."""


Held = Sequence[tuple[Placement, End | None]]
"""Of one node. An end of None: nobody knows it."""


def nobody(_node: str) -> Held:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """``node`` should have room in ``wait_s``, with these ``gpus``; it is done ``completion_s`` from now.

    ``ahead``: how many wait for that node already. ``instead``: the node on which it would be done soonest of
    those that have room now, in ``instead_s``; None: none has. ``figures``, ``instead_figures``: what both
    were reckoned from.
    """

    node: str
    gpus: tuple[int, ...]
    wait_s: float
    completion_s: float
    origin: Origin
    figures: tuple[Figure, ...]
    ahead: int = 0
    instead: str | None = None
    instead_s: float | None = None
    instead_figures: tuple[Figure, ...] = ()


def room_to_wait_for(
    pool: Pool,
    demand: Demand,
    held: Callable[[str], Held],
    ahead: Callable[[str], Held] = nobody,
    *,
    waited_s: float = 0.0,
    policy: Policy = DEFAULT,
) -> Wait | None:
    """The best full node to wait for, if that is clearly better than any that has room now, or none has.

    ``held``: on a node now; ``ahead``: what those will hold there who wait for it already. ``waited_s``: how
    long it waits already. None for what is no batch, for which it does not matter where it is done sooner,
    or by a policy that does not look at that.
    """
    if not (demand.batch and demand.timed and policy.weights.get("completion")):
        return None
    judged = judge(pool, demand, policy)
    if judged.cost is None:
        return None
    now = _soonest(judged.cost, judged.reason == 0)
    run_s, names, waits = judged.cost.completion_s, pool.columns.names, []
    instead_s = np.inf if now is None else float(run_s[now])
    if waited_s > instead_s:
        return None
    most_s = min(instead_s / CLEARLY, instead_s - CLEARLY_S)
    worth = _full(judged, judged.cost, now) & (run_s <= most_s)
    for row in islice(_that_lack_room(pool, demand, policy, worth, run_s), LOOKED_AT):
        node = names[row]
        room = _room(pool.node(node), demand, [*held(node), *ahead(node)])
        if room is None or not _in_time(judged.cost, row, room[0], demand):
            continue
        if (done_s := room[0].in_s + float(run_s[row])) <= most_s:
            waits.append((done_s, row, *room))
    if not waits:
        return None
    done_s, row, end, gpus = min(waits, key=lambda found: found[:2])
    figures = judged.cost.figures(row, end)
    return Wait(
        node=names[row],
        gpus=gpus,
        wait_s=end.in_s,
        completion_s=done_s,
        origin=next(each.origin for each in figures if each.name == "completion"),
        figures=figures,
        ahead=len(ahead(names[row])),
        instead=None if now is None else names[now],
        instead_s=None if now is None else instead_s,
        instead_figures=() if now is None else judged.cost.figures(now),
    )


def _soonest(cost: Cost, passed: Bools) -> int | None:
    """Of the rows that have room now."""
    rows = np.flatnonzero(passed)
    return int(rows[cost.completion_s[rows].argmin()]) if len(rows) else None


def _full(judged: Judgement, cost: Cost, now: int | None) -> Bools:
    """Rows that lack room. A run time that is unknown is no reason to wait, unless that of the node with room
    is unknown, too."""
    full: Bools = np.isin(judged.reason, [CODE[name] for name in ROOM])
    if now is not None and cost.run_origin[now] != UNKNOWN:
        full &= cost.run_origin != UNKNOWN
    return full


def _that_lack_room(
    pool: Pool, demand: Demand, policy: Policy, full: Bools, run_s: Floats
) -> Iterator[int]:
    """Of the full rows those that lack nothing else, and could take it if they were empty; the soonest
    first."""
    if not full.any():
        return
    rows = np.flatnonzero(full & hosts(pool, demand, policy))
    for row in rows[np.argsort(run_s[rows], kind="stable")].tolist():
        if gpus_with(pool.columns.nodes[row], (), demand) is not None:
            yield row


def _room(node: NodeCapacity, demand: Demand, held: Held) -> tuple[End, tuple[int, ...]] | None:
    """The earliest end by which enough of what is held there is gone, and the GPUs that it then gets; None:
    nobody knows of one."""
    known = [(each, end) for each, end in held if end is not None]
    known.sort(key=lambda found: found[1].in_s)
    beside = Beside(node, [each for each, _ in held], demand)

    def gpus_after(gone: int) -> tuple[int, ...] | None:
        return beside.gpus_without([each for each, _ in known[:gone]])

    enough = bisect_left(range(len(known) + 1), True, key=lambda n: gpus_after(n) is not None)
    gpus = gpus_after(enough) if 0 < enough <= len(known) else None
    if gpus is None:
        return None
    last = known[enough - 1][1]
    return End(last.in_s, weakest(*(end.origin for _, end in known[:enough]))), gpus


def _in_time(cost: Cost, row: int, room: End, demand: Demand) -> bool:
    return demand.deadline_s is None or room.in_s + float(cost.p95_s[row]) <= demand.deadline_s
