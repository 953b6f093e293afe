"""A plan always runs the same way: in this process, in another one, from a file."""

import json
import os
import subprocess
import sys
from pathlib import Path

from farshore_sim.world.faults import draw, dump, read
from farshore_sim.world.world import run_plan

SEEDS = (3, 6)
ONE_OF_EACH_BROKER = {"embedded", "external"}


def _world(*options: str, hash_seed: str = "0") -> dict[str, object]:
    command = [sys.executable, "-c", "from farshore_sim.cli import main; main()", "world", "--json"]
    done = subprocess.run(
        [*command, *options],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_the_seeds_have_both_kinds_of_broker() -> None:
    assert {draw(seed, nodes=3, hours=0.2).broker for seed in SEEDS} == ONE_OF_EACH_BROKER


def test_a_seed_runs_alike_whatever_the_hash_seed_is() -> None:
    for seed, tasks in ((SEEDS[0], False), (SEEDS[1], False), (SEEDS[0], True)):
        wanted = "--tasks" if tasks else "--no-tasks"
        options = ("--seed", str(seed), "--nodes", "3", "--hours", "0.2", wanted)
        one = _world(*options, hash_seed="1")
        assert one == _world(*options, hash_seed="4711")
        assert one["digest"] == run_plan(draw(seed, nodes=3, hours=0.2, tasks=tasks)).digest


def test_another_seed_is_another_world() -> None:
    one, other = (run_plan(draw(seed, nodes=2, hours=0.1)) for seed in (1, 2))
    assert one.digest != other.digest


def test_a_trace_changes_nothing_and_tells_what_happened() -> None:
    plan = draw(2, nodes=2, hours=0.1)
    traced = run_plan(plan, keep_trace=True)
    assert traced.digest == run_plan(plan).digest
    assert any(" fs1/up/node-1/birth " in line for line in traced.trace)


def test_a_plan_from_a_file_is_the_same_world(tmp_path: Path) -> None:
    plan = draw(6, nodes=3, hours=0.2)
    path = tmp_path / "plan.json"
    path.write_bytes(dump(plan))
    assert read(path) == plan
    assert _world("--schedule", str(path))["digest"] == run_plan(plan).digest
