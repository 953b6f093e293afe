"""What it would cost to run a task on each node: when it would be done, and what that takes in money.

    completion = wait for room + transfer of what is not there + run time
    money      = bytes moved * cost per byte + core-seconds * cost per core-second

Data comes and goes by the links of its holder and of the node, through the center: the slower of the two
sets the rate. Who moves something over a link meanwhile has an even share of it (processor sharing): until
ours is through, as much of each other transfer passes as of ours, or what is left of it. Run times were
measured on the node itself (when it has some), on nodes of its kind, on its side, or anywhere; without any,
the hint counts. Every number says where it comes from. Where there is room nobody waits; ``waiting.py``
reckons how long it is until there is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from farshore_center.placement.columns import ASSUMED, Bools, Columns, Floats, Ints
from farshore_center.placement.decisions import End, Figure, Origin
from farshore_center.placement.model import (
    Data,
    Demand,
    RunTime,
    Side,
    Traffic,
    Transfer,
    Way,
)

ORIGINS: tuple[Origin, ...] = get_args(Origin)
OWN_RUNS = 8
"""Before a node has so many runs of its own, those on all nodes of its kind say more than one or two."""
MEASURED, ELSEWHERE, HINT, _, UNKNOWN = range(len(ORIGINS))


@dataclass(frozen=True, slots=True)
class Cost:
    """Of each row. ``run_s`` and ``p95_run_s`` are 0 where nothing is known of the run time."""

    transfer_s: Floats
    moved_bytes: Floats
    shared_bytes: Floats
    links_measured: Bools
    run_s: Floats
    p95_run_s: Floats
    run_origin: Ints
    money: Floats

    @property
    def completion_s(self) -> Floats:
        """From when it has room."""
        return self.transfer_s + self.run_s

    @property
    def p95_s(self) -> Floats:
        """Done by then in 95 of 100 runs. The least that it can be, where the run time is unknown."""
        return self.transfer_s + self.p95_run_s

    def figures(self, row: int, room: End | None = None) -> tuple[Figure, ...]:
        """What the estimate for one row was reckoned from. ``room``: when it has room there; None: now."""
        run: Origin = ORIGINS[self.run_origin[row]]
        links: Origin = "measured" if self.links_measured[row] else "assumed"
        wait_s, waits = (0.0, links) if room is None else (room.in_s, room.origin)
        whole = weakest(run, links, waits)
        known = run != "unknown"
        shared = float(self.shared_bytes[row])
        moved, transfer = float(self.moved_bytes[row]), float(self.transfer_s[row])
        run_s, p95_s = float(self.run_s[row]), float(self.p95_run_s[row])
        done, done_p95 = wait_s + transfer + run_s, wait_s + transfer + p95_s
        return (
            *(() if room is None else (_figure("wait", wait_s, "s", waits),)),
            _figure("moved", moved, "bytes", "hint"),
            *((_figure("shared", shared, "bytes", "assumed"),) if shared else ()),
            _figure("transfer", transfer, "s", links),
            _figure("run", run_s if known else None, "s", run),
            _figure("run p95", p95_s if known else None, "s", run),
            _figure("completion", done if known else None, "s", whole),
            _figure("completion p95", done_p95 if known else None, "s", whole),
            _figure("cost", float(self.money[row]), "money", weakest(run, links)),
        )


def weakest(*origins: Origin) -> Origin:
    """What is made of several numbers is as good as the weakest of them."""
    return max(origins, key=ORIGINS.index)


def _figure(name: str, value: float | None, unit: str, origin: Origin) -> Figure:
    return Figure(name=name, value=value, unit=unit, origin=origin)


def reckon(columns: Columns, demand: Demand) -> Cost:
    """The cost on every row."""
    transfer, moved, fees, shared = np.zeros((4, columns.size))
    measured = np.ones(columns.size, np.bool_)
    for data, into in [(d, True) for d in demand.reads] + [(d, False) for d in demand.writes]:
        if not data.size_bytes:
            continue
        way = _way(columns, demand.traffic, data, into)
        transfer += np.where(way.here, 0.0, way.transfer_s)
        if way.shared_bytes is not None:
            shared += np.where(way.here, 0.0, way.shared_bytes)
        moved += np.where(way.here, 0, data.size_bytes)
        fees += np.where(way.here, 0.0, data.size_bytes * way.byte_cost)
        measured &= way.here | way.measured
    mean, p95, origin = _run_time(columns, demand)
    return Cost(
        transfer_s=transfer,
        moved_bytes=moved,
        shared_bytes=shared,
        links_measured=measured,
        run_s=mean,
        p95_run_s=p95,
        run_origin=origin,
        money=fees + mean * demand.cpu_milli / 1000 * columns.core_cost,
    )


def here(columns: Columns, data: Data) -> Bools:
    """Rows that hold the data."""
    if data.group:
        return columns.having("group", data.group)
    rows = np.zeros(columns.size, np.bool_)
    if data.node in columns.row:
        rows[columns.row[data.node]] = True
    return rows


@dataclass(frozen=True, slots=True)
class _Way:
    """Between where data lies and each row."""

    here: Bools
    transfer_s: Floats
    shared_bytes: Floats | None
    byte_cost: Floats
    measured: Bools


def _way(columns: Columns, traffic: Traffic, data: Data, into: bool) -> _Way:
    """``into`` the row (a read), or out of it (a write). Of several holders, the one with the best rate;
    one that the pool does not know has a link as is assumed for any."""
    held, holder = here(columns, data), _holder(columns, data, into)
    theirs, ours = (columns.up, columns.down) if into else (columns.down, columns.up)
    away, home = _ways(into)
    shared_here = _shared_here(columns, traffic, data, home) if traffic else None
    if holder is None:
        rate, latency, fee = ASSUMED.up_bytes_s, ASSUMED.latency_s, 0.0
        shared, known = 0.0, False
    else:
        rate, latency = float(theirs[holder]), float(columns.latency[holder])
        fee, known = float(columns.byte_cost[holder]), bool(columns.link_known[holder])
        shared = _shared(data, traffic.get((columns.names[holder], away), ()))
    there_s = (data.size_bytes + shared) / rate
    here_s = (data.size_bytes + (0.0 if shared_here is None else shared_here)) / ours
    return _Way(
        here=held,
        transfer_s=np.maximum(there_s, here_s) + (latency + columns.latency),
        shared_bytes=None
        if shared_here is None
        else np.where(there_s >= here_s, shared, shared_here),
        byte_cost=fee + columns.byte_cost,
        measured=columns.link_known & known,
    )


def _shared_here(columns: Columns, traffic: Traffic, data: Data, home: Way) -> Floats:
    """Of each row's own link."""
    shared = np.zeros(columns.size)
    for (node, way), sizes in traffic.items():
        if way == home and node in columns.row:
            shared[columns.row[node]] = _shared(data, sizes)
    return shared


def _ways(into: bool) -> tuple[Way, Way]:
    """Of the link of the data's holder, and of the node's own."""
    return ("up", "down") if into else ("down", "up")


def _shared(data: Data, sizes: Sequence[int]) -> float:
    """Bytes of others that pass until the data is through."""
    return float(sum(min(size, data.size_bytes) for size in sizes))


def _holder(columns: Columns, data: Data, into: bool) -> int | None:
    """The row that the data comes from or goes to."""
    rows = np.flatnonzero(here(columns, data))
    theirs = columns.up if into else columns.down
    return int(rows[theirs[rows].argmax()]) if len(rows) else None


def transfers(columns: Columns, demand: Demand, row: int) -> tuple[Transfer, ...]:
    """What passes the links of the edge if it runs on this row."""
    found = []
    for data, into in [(d, True) for d in demand.reads] + [(d, False) for d in demand.writes]:
        if not data.size_bytes or here(columns, data)[row]:
            continue
        ends = zip((_holder(columns, data, into), row), _ways(into), strict=True)
        found += [
            Transfer(columns.names[end], way, data.size_bytes)
            for end, way in ends
            if end is not None and not columns.core[end]
        ]
    return tuple(found)


def _run_time(columns: Columns, demand: Demand) -> tuple[Floats, Floats, Ints]:
    """Mean, p95 and origin of each row's run time."""
    codes, kinds = columns.kinds()
    known = [_of_kind(demand, kind, side) for kind, side in kinds]
    mean = np.array([run.mean_s for run, _ in known])[codes]
    p95 = np.array([run.p95_s for run, _ in known])[codes]
    origin = np.array([its for _, its in known])[codes]
    for node in demand.run_times.keys() & columns.row.keys():
        row, run = columns.row[node], demand.run_times[node]
        if run.count >= OWN_RUNS or origin[row] != MEASURED:
            mean[row], p95[row], origin[row] = run.mean_s, run.p95_s, MEASURED
    return mean, p95, origin


def _of_kind(demand: Demand, kind: str, side: Side) -> tuple[RunTime, int]:
    """The run time on nodes of a kind, from what was measured nearest to it."""
    for of, origin in ((kind, MEASURED), (side, ELSEWHERE), ("*", ELSEWHERE)):
        if of in demand.run_times:
            return demand.run_times[of], origin
    hint = demand.run_hint_s
    guess = RunTime(mean_s=hint or 0.0, p95_s=hint or 0.0, count=0)
    return guess, UNKNOWN if hint is None else HINT
