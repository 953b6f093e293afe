"""What was found: of each job what it took on each side and what was chosen; the promises. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.edge_or_core.scenario import CORE, CORES, Job
from bench.model import Figure, Outcome, Runs, Verdict

TOLERANCE = 0.10
RIGHT_PERCENT = 95.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One run. ``took_s``: from its grant until it was done; ``moved_s``, ``computed_s``: as the program
    itself has them, with the ``bytes`` that came. ``expected``: of each node, what its completion was
    reckoned to be when this was decided."""

    node: str
    took_s: float
    bytes: int
    moved_s: float
    computed_s: float
    expected: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A job where the center put it, and on each side on purpose."""

    job: Job
    auto: Ran
    edge: tuple[Ran, ...]
    core: tuple[Ran, ...]

    @property
    def chosen(self) -> str:
        return "core" if self.auto.node in CORES else "edge"

    @property
    def edge_s(self) -> float:
        return statistics.mean(run.took_s for run in self.edge)

    @property
    def core_s(self) -> float:
        return statistics.mean(run.took_s for run in self.core)

    @property
    def better_s(self) -> float:
        return min(self.edge_s, self.core_s)

    @property
    def loss(self) -> float:
        """By how much the chosen side is slower than the better one, by the runs on purpose."""
        chosen_s = self.core_s if self.chosen == "core" else self.edge_s
        return chosen_s / self.better_s - 1

    @property
    def right(self) -> bool:
        return self.loss <= TOLERANCE

    def line(self) -> str:
        word = "" if self.right else f", {100 * self.loss:.0f} % slower than the other"
        return (
            f"{self.job.kind.name} over {self.job.size_bytes / 1e6:.2f} MB at {self.job.site.node}: edge "
            f"{self.edge_s:.2f} s, core {self.core_s:.2f} s, chosen: {self.chosen}{word}"
        )

    def record(self) -> dict[str, Any]:
        """For the report."""
        return {
            "number": self.job.number,
            "kind": self.job.kind.name,
            "site": self.job.site.node,
            "bytes": self.job.size_bytes,
            "chosen": self.chosen,
            "node": self.auto.node,
            "auto_s": round(self.auto.took_s, 3),
            "edge_s": [round(run.took_s, 3) for run in self.edge],
            "core_s": [round(run.took_s, 3) for run in self.core],
            "core_moved_s": [run.moved_s for run in self.core],
            "core_computed_s": [run.computed_s for run in self.core],
            "edge_computed_s": [run.computed_s for run in self.edge],
            "expected_edge_s": _rounded(self.auto.expected.get(self.job.site.node)),
            "expected_core_s": _rounded(self.auto.expected.get(CORE)),
            "loss_percent": round(100 * self.loss, 1),
            "right": self.right,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstRan:
    """In the order in which they were done. ``nodes``: where; ``done_s``: since they were asked for."""

    nodes: tuple[str, ...]
    done_s: tuple[float, ...]

    @property
    def sum_s(self) -> float:
        return sum(self.done_s)

    def line(self) -> str:
        at = ", ".join(f"{s:.1f} {node}" for s, node in zip(self.done_s, self.nodes, strict=True))
        return f"{self.sum_s:.1f} s in all ({at})"

    def record(self) -> dict[str, Any]:
        return {
            "nodes": list(self.nodes),
            "done_s": [round(each, 3) for each in self.done_s],
            "sum_s": round(self.sum_s, 3),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """The same batches at once: where the center put them, at their data's node, and in the core."""

    job: Job
    auto: BurstRan
    edge: BurstRan
    core: BurstRan

    @property
    def verdict(self) -> Verdict:
        ways = {"auto": self.auto, "edge": self.edge, "core": self.core}
        return Verdict(
            name="edge_or_core.burst",
            what="a burst of batches: completion in all, against the better of all-edge and all-core",
            unit="×",
            promised=1.0,
            measured=self.auto.sum_s / min(self.edge.sum_s, self.core.sum_s),
            strict=True,
            sides=tuple(
                Figure(name=name, what="seconds until done", unit="s", runs=Runs.of(ran.done_s))
                for name, ran in ways.items()
            ),
        )

    def record(self) -> dict[str, Any]:
        """For the report."""
        return {
            "site": self.job.site.node,
            "bytes": self.job.size_bytes,
            "auto": self.auto.record(),
            "edge": self.edge.record(),
            "core": self.core.record(),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def totals(tried: Sequence[Tried]) -> dict[str, float]:
    """Seconds in all: where the center put them, and were all of them on one side."""
    return {
        "auto": sum(each.auto.took_s for each in tried),
        "edge": sum(each.edge_s for each in tried),
        "core": sum(each.core_s for each in tried),
        "better": sum(each.better_s for each in tried),
    }


def outcome(tried: Sequence[Tried], burst: Burst | None = None) -> Outcome:
    sums = totals(tried)
    losses = Runs.of([100 * each.loss for each in tried])
    all_one = min(sums["edge"], sums["core"])
    verdicts: tuple[Verdict, ...] = (
        Verdict(
            name="edge_or_core.side",
            what="jobs whose chosen side is within 10 % of the better one",
            unit="%",
            promised=RIGHT_PERCENT,
            measured=100 * sum(each.right for each in tried) / len(tried),
            sides=(Figure(name="loss", what="slower than the better side", unit="%", runs=losses),),
            at_most=False,
        ),
        Verdict(
            name="edge_or_core.total",
            what="completion in all, against the better of all-edge and all-core",
            unit="×",
            promised=1.0,
            measured=sums["auto"] / all_one,
            strict=True,
            sides=tuple(
                Figure(name=name, what="seconds in all", unit="s", runs=Runs.of([value]))
                for name, value in sums.items()
            ),
        ),
    )
    if burst is not None:
        verdicts = (*verdicts, burst.verdict)
    return Outcome(measure="edge_or_core", verdicts=verdicts, figures=figures(tried))


def figures(tried: Sequence[Tried]) -> tuple[Figure, ...]:
    """How far an estimate was from what its side then took, and how noisy the same work is."""
    off = [
        100 * (expected / took_s - 1)
        for each in tried
        for expected, took_s in (
            (each.auto.expected.get(each.job.site.node), each.edge_s),
            (each.auto.expected.get(CORE), each.core_s),
        )
        if expected is not None
    ]
    noise = [
        100 * (max(runs) / min(runs) - 1)
        for each in tried
        for runs in ([r.took_s for r in each.edge], [r.took_s for r in each.core])
        if len(runs) > 1
    ]
    found = {"error": ("estimate against what it took", off)}
    if noise:
        found["noise"] = ("the same job on the same side, slower against quicker run", noise)
    return tuple(
        Figure(name=f"edge_or_core.{name}", what=what, unit="%", runs=Runs.of(values))
        for name, (what, values) in found.items()
        if values
    )
