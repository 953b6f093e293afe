"""Whether a gate holds, from what is known of the touched nodes and of the others. Pure."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from statistics import fmean

from farshore_center.jobs.rules import MetricGate, SelectorGate
from farshore_center.jobs.state import Verdict
from farshore_center.words import counted


def selector_verdict(
    gate: SelectorGate, touched: AbstractSet[str], matching: AbstractSet[str]
) -> Verdict:
    good = len(touched & matching)
    match = "matches" if len(touched) == 1 else "match"
    said = f"{good} of {counted(len(touched), 'touched node')} {match} {gate.selector}"
    if good * 100 >= gate.percent * len(touched):
        return Verdict(True, said)
    bad = sorted(touched - matching)
    return Verdict(
        False,
        f"only {said} ({gate.percent:g} % have to); "
        f"{', '.join(bad[:3])}{'…' if len(bad) > 3 else ''} {'does' if len(bad) == 1 else 'do'} not",
    )


def metric_verdict(
    gate: MetricGate,
    touched: AbstractSet[str],
    untouched: AbstractSet[str],
    values: Mapping[str, float],
) -> Verdict:
    """``values``: each node's last one since its touch. A touched node without one is silent."""
    silent = sorted(node for node in touched if node not in values)
    if silent:
        return Verdict(False, f"{gate.series}: no value of {', '.join(silent[:3])} since its turn")
    others = [values[node] for node in untouched if node in values]
    if not touched or not others:
        return Verdict(True, f"{gate.series}: nobody left to compare with")
    mean, limit = fmean(values[node] for node in touched), fmean(others) * gate.factor + gate.plus
    holds = mean <= limit if gate.op == "<=" else mean >= limit
    sign = gate.op if holds else f"is not {gate.op}"
    return Verdict(holds, f"{gate.series}: {mean:.4g} of the touched nodes {sign} {limit:.4g}")
