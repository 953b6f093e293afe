"""What the bench of failover says: promises, figures, and a row for each contract and way of dying. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.failover.deeds import Moved
from bench.model import Figure, Outcome, Runs, Verdict, percentile

NODE_S = 5.0
PROCESS_S = 1.0
PERCENTS = (50, 95, 99, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """How the first work came to the nodes: ``instances`` of them, and seconds from the first call until
    all grants were committed and every node was sent its document, and until all of it ran."""

    instances: int
    sent_s: float
    running_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Of one contract and one way of dying. ``noticed``: seconds from the deed until the center called
    the instance lost, where its history says so; ``rest``: from then until it ran elsewhere."""

    contract: str
    way: str
    moved: tuple[Moved, ...]
    noticed: tuple[float, ...]
    rest: tuple[float, ...]

    @property
    def took(self) -> list[float]:
        return [each.took_s for each in self.moved]

    def record(self) -> dict[str, Any]:
        return {
            "contract": self.contract,
            "way": self.way,
            "instances": len(self.moved),
            **{f"{_name(percent)}_s": _rounded(self.took, percent) for percent in PERCENTS},
            "noticed_p50_s": _rounded(self.noticed, 50),
            "noticed_p99_s": _rounded(self.noticed, 99),
            "rest_p50_s": _rounded(self.rest, 50),
            "rest_p99_s": _rounded(self.rest, 99),
            "took_s": [round(took, 4) for took in sorted(self.took)],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``mistaken``: instances that were called lost though nobody had killed their node; ``cores``: CPU
    use of the center, by what it did."""

    nodes: int
    rows: tuple[Row, ...]
    simulated: tuple[float, ...]
    placed: Placed
    mistaken: int
    cores: dict[str, float]


def outcomes(found: Found | None, real: Sequence[float]) -> Outcome:
    """``found``: of the simulated nodes; ``real``: of a real agent; either may not have been measured."""
    verdicts = [] if found is None else [_node(found), _process("simulated", found.simulated)]
    if real:
        verdicts.append(_process("real", real))
    return Outcome(
        measure="failover",
        verdicts=tuple(verdicts),
        figures=() if found is None else _figures(found),
    )


def _node(found: Found) -> Verdict:
    took = [seconds for row in found.rows for seconds in row.took]
    return Verdict(
        name="failover.node",
        what=f"a node of {found.nodes:,} is killed: its work runs elsewhere (99 of 100)",
        unit="s",
        promised=NODE_S,
        measured=percentile(took, 99),
        sides=tuple(
            Figure(name=f"{row.contract}, {row.way}", what="", unit="s", runs=Runs.of(row.took))
            for row in found.rows
        ),
    )


def _process(side: str, took: Sequence[float]) -> Verdict:
    where = "a simulated node" if side == "simulated" else "a real agent's node"
    return Verdict(
        name=f"failover.process {side}",
        what=f"a process at {where} is killed: it runs again (the slowest)",
        unit="s",
        promised=PROCESS_S,
        measured=max(took),
        sides=(Figure(name="one by one", what="", unit="s", runs=Runs.of(took)),),
    )


def _figures(found: Found) -> tuple[Figure, ...]:
    def one(name: str, what: str, unit: str, value: float) -> Figure:
        return Figure(name=f"failover.{name}", what=what, unit=unit, runs=Runs.of((value,)))

    placed = found.placed
    return (
        one(
            "loop",
            f"decisions of the whole loop: {placed.instances:,} instances decided, granted, committed, "
            "their nodes told",
            "/s",
            placed.instances / placed.sent_s,
        ),
        one(
            "begun",
            "the same until the nodes run them",
            "/s",
            placed.instances / placed.running_s,
        ),
        one("mistaken", "instances called lost though their node lived", "", found.mistaken),
        *(
            one(f"center_cpu {when}", "CPU use of the center", "cores", cores)
            for when, cores in found.cores.items()
        ),
    )


def _name(percent: int) -> str:
    return "max" if percent == 100 else f"p{percent}"


def _rounded(values: Sequence[float], percent: float) -> float | None:
    return round(percentile(values, percent), 3) if values else None
