"""What ``farshore-sim world`` does and prints: one world, replayed, shrunk when it fails."""

import sys
from dataclasses import asdict
from pathlib import Path

import orjson

from farshore_sim.world.faults import Plan, draw, dump, read
from farshore_sim.world.shrink import shrink
from farshore_sim.world.world import Outcome, run_plan


def show(
    *,
    seed: int,
    nodes: int,
    hours: float,
    tasks: bool | None,
    schedule: Path | None,
    trace: Path | None,
    shrinks: bool,
    as_json: bool,
) -> bool:
    """Whether everything held."""
    drawn = draw(seed, nodes=nodes, hours=hours, tasks=tasks)
    plan = drawn if schedule is None else read(schedule)
    outcome = run_plan(plan, keep_trace=trace is not None)
    if trace is not None:
        trace.write_text("\n".join(outcome.trace) + "\n")
    sys.stdout.write(_json(outcome) if as_json else _text(outcome))
    if outcome.violations and shrinks:
        small = smallest(outcome)
        path = Path(f"world-{plan.seed}.json")
        path.write_bytes(dump(small.plan))
        sys.stderr.write(
            f"shrunk to {len(small.plan.faults)} faults and {small.plan.nodes} nodes; replay it:\n"
            f"farshore-sim world --schedule {path}\n{dump(small.plan).decode()}\n{_text(small)}"
        )
    return not outcome.violations


def smallest(outcome: Outcome) -> Outcome:
    """The same violation of the same invariant, by as little as possible."""
    wanted = outcome.violations[0].invariant

    def fails(plan: Plan) -> bool:
        return any(each.invariant == wanted for each in run_plan(plan).violations)

    return run_plan(shrink(outcome.plan, fails))


def _text(outcome: Outcome) -> str:
    plan, counts = outcome.plan, outcome.counts
    lines = [
        f"seed {plan.seed}: {plan.nodes} nodes, {plan.broker} broker, {len(plan.faults)} faults in "
        f"{plan.hours:g} h; at rest after {outcome.virtual_s:.0f} s",
        f"{counts.records} records, {counts.messages} messages, {counts.commands} commands with "
        f"{counts.effects} effects, {counts.agent_lives} lives of agents, "
        f"{counts.center_lives} of the center",
        *_work(outcome),
        *(str(violation) for violation in outcome.violations),
        f"trace {outcome.digest}: "
        + (f"{len(outcome.violations)} violations" if outcome.violations else "everything held"),
    ]
    return "\n".join(lines) + "\n"


def _work(outcome: Outcome) -> tuple[str, ...]:
    """A line about tasks, where there are any."""
    plan, counts = outcome.plan, outcome.counts
    if not plan.sites:
        return ()
    return (
        f"tasks on {plan.sites} sites: {counts.tasks} puts, {counts.task_runs} runs, "
        f"{counts.task_runs_leased} of them on a lease, {counts.task_results} ends of batches "
        f"accepted, {counts.task_moves} replacements",
    )


def _json(outcome: Outcome) -> str:
    document = {
        "plan": asdict(outcome.plan),
        "digest": outcome.digest,
        "virtual_s": outcome.virtual_s,
        "counts": asdict(outcome.counts),
        "violations": [asdict(violation) for violation in outcome.violations],
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n"
