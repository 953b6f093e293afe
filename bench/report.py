"""The report: everything that was found, as plain JSON. Pure. Its shape stands in docs/bench.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.model import Figure, Outcome, Runs, Verdict

SCHEMA = 1
DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """``date``: RFC 3339, UTC; loads over 1, 5 and 15 minutes."""

    date: str
    quick: bool
    machine: dict[str, Any]
    versions: dict[str, str]
    load_before: Sequence[float]
    load_after: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A measure that could not be taken."""

    measure: str
    detail: str


def report(
    where: Circumstances, outcomes: Sequence[Outcome], failures: Sequence[Failure]
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "date": where.date,
        "quick": where.quick,
        "machine": where.machine,
        "versions": where.versions,
        "load": {"before": list(where.load_before), "after": list(where.load_after)},
        "promises": [
            _promise(outcome.measure, verdict)
            for outcome in outcomes
            for verdict in outcome.verdicts
        ],
        "figures": [
            {"measure": outcome.measure, **_figure(figure)}
            for outcome in outcomes
            for figure in outcome.figures
        ],
        "failures": [{"measure": f.measure, "detail": f.detail} for f in failures],
    }


def bound(verdict: Verdict) -> str:
    """How the promise compares, as a sign."""
    return (
        ("<" if verdict.at_most else ">") if verdict.strict else ("≤" if verdict.at_most else "≥")
    )


def _promise(measure: str, verdict: Verdict) -> dict[str, Any]:
    return {
        "measure": measure,
        "name": verdict.name,
        "what": verdict.what,
        "unit": verdict.unit,
        "bound": bound(verdict),
        "promised": verdict.promised,
        "measured": _rounded(verdict.measured),
        "ratio": _rounded(verdict.ratio),
        "held": verdict.held,
        "sides": [_figure(side) for side in verdict.sides],
    }


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.name,
        "what": figure.what,
        "unit": figure.unit,
        "runs": _runs(figure.runs),
    }


def _runs(runs: Runs) -> dict[str, Any]:
    return {
        "min": _rounded(runs.low),
        "median": _rounded(runs.median),
        "max": _rounded(runs.high),
        "values": [_rounded(value) for value in runs.values],
    }


def _rounded(value: float) -> float:
    return round(float(value), DIGITS)
