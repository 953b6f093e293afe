"""What the runs say: a row for each trace and policy, and the promises. Pure."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.model import Figure, Outcome, Runs, Verdict
from bench.placement.experiment import Run
from bench.placement.trace import Trace

POLICY_NAMES = ("bestfit", "fgd", "default")

PAPER: Mapping[tuple[str, str], float] = {
    ("default", "bestfit"): 93.08,
    ("default", "fgd"): 95.39,
    ("cpu250", "bestfit"): 91.45,
    ("cpu250", "fgd"): 93.41,
}
"""By trace and policy: percent of all GPUs, the mean of 10 seeds (Weng et al., USENIX ATC 2023, by its
published results). The nodes must be those 1,213 for it to mean anything."""

PAPER_GPUS = 6212
NEAR = 0.5
SPEED = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One policy on one trace. ``paper_pct``: None where the paper has none."""

    trace: str
    policy: str
    nodes: int
    paper_pct: float | None
    runs: tuple[Run, ...]

    @property
    def mean_pct(self) -> float:
        return statistics.fmean(run.allocated_pct for run in self.runs)

    @property
    def difference(self) -> float | None:
        return None if self.paper_pct is None else self.mean_pct - self.paper_pct

    @property
    def rates(self) -> list[float]:
        """Decisions a second by the wall clock, of each run."""
        return [run.decisions / run.wall_s for run in self.runs]

    @property
    def cpu_rates(self) -> list[float]:
        return [run.decisions / run.cpu_s for run in self.runs]

    def record(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "trace": self.trace,
            "policy": self.policy,
            "paper_pct": self.paper_pct,
            "mean_pct": round(self.mean_pct, 2),
            "difference": None if self.difference is None else round(self.difference, 2),
            "runs_pct": [round(run.allocated_pct, 2) for run in self.runs],
            "decisions": [run.decisions for run in self.runs],
            "dropped": [run.dropped for run in self.runs],
            "decisions_s": round(statistics.median(self.rates)),
            "decisions_cpu_s": round(statistics.median(self.cpu_rates)),
        }


def rows(trace: Trace, runs: Mapping[str, Sequence[Run]]) -> list[Row]:
    known = trace.gpus == PAPER_GPUS
    return [
        Row(
            trace=trace.name,
            policy=name,
            nodes=len(trace.nodes),
            paper_pct=PAPER.get((trace.name, name)) if known else None,
            runs=tuple(its),
        )
        for name, its in runs.items()
    ]


def outcomes(
    table: Sequence[Row], particular: Sequence[Run], pushes: Sequence[Sequence[float]]
) -> Outcome:
    by = {(row.trace, row.policy): row for row in table}
    verdicts = [_speed(row) for row in table if row.policy == "default"]
    verdicts += [_near(row) for row in table if row.paper_pct is not None]
    verdicts += [_better(row, by[row.trace, "fgd"]) for row in table if row.policy == "default"]
    alone = Figure(
        name="placement.particular",
        what="decisions in which a selector, likes, data, run times and a deadline count",
        unit="decisions/s",
        runs=Runs.of([run.decisions / run.wall_s for run in particular]),
    )
    figures = (alone, *_pushing(table[0].nodes, [each for each in pushes if each]))
    return Outcome(measure="placement", verdicts=tuple(verdicts), figures=figures)


def _pushing(nodes: int, pushes: Sequence[Sequence[float]]) -> Iterator[Figure]:
    """Nothing where no task had to push."""
    of_run: Mapping[str, Callable[[Sequence[float]], float]]
    of_run = {"median": statistics.median, "longest": max}
    for name, of in of_run.items():
        values = [of(each) for each in pushes]
        if values:
            yield Figure(
                name=f"placement.preempt {name}",
                what=f"to find who gives way on {nodes:,} nodes that are full, the {name} of a run",
                unit="ms",
                runs=Runs.of(values),
            )


def _speed(row: Row) -> Verdict:
    its = _figure(row, "decisions with their booking, one process", "decisions/s", row.rates)
    cpu = _figure(row, "the same by CPU time", "decisions/s", row.cpu_rates)
    return Verdict(
        name=f"placement.speed {row.trace}",
        what=f"decisions a second over {row.nodes:,} nodes, policy default, the median of the runs",
        unit="decisions/s",
        promised=SPEED,
        measured=its.runs.median,
        sides=(its, cpu),
        at_most=False,
    )


def _near(row: Row) -> Verdict:
    return Verdict(
        name=f"placement.{row.policy} {row.trace}",
        what=f"GPUs allocated by {row.policy}: how far the mean is from the paper's {row.paper_pct:g} %",
        unit="points",
        promised=NEAR,
        measured=abs(row.difference or 0.0),
        sides=(_allocated(row),),
    )


def _better(row: Row, fgd: Row) -> Verdict:
    return Verdict(
        name=f"placement.default {row.trace}",
        what="GPUs allocated by our own policy, against the higher of FGD here and in the paper",
        unit="%",
        promised=round(max(fgd.mean_pct, fgd.paper_pct or 0.0), 2),
        measured=row.mean_pct,
        sides=(_allocated(row), _allocated(fgd)),
        at_most=False,
    )


def _allocated(row: Row) -> Figure:
    return _figure(row, "GPUs allocated at the end", "%", [run.allocated_pct for run in row.runs])


def _figure(row: Row, what: str, unit: str, values: Sequence[float]) -> Figure:
    return Figure(name=row.policy, what=what, unit=unit, runs=Runs.of(values))
