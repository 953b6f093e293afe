"""A soak of worlds adds up, in one go or in parts, and its mix leaves no fault out."""

import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from farshore_sim.world.faults import KINDS, draw

from soak.__main__ import main
from soak.errors import SoakError
from soak.mix import MIX, size_of
from soak.report import ROOT, read, report, write
from soak.violation import Violation
from soak.worlds import Lived, Tally, WorldsSettings, before

SMALL = ("--nodes", "2", "--hours", "0.05", "--processes", "1")


def lived(seed: int, *violations: Violation) -> Lived:
    return Lived(
        seed=seed,
        size=size_of(seed),
        broker="embedded",
        tasks=seed == 1,
        faults={"cut": 2, "crash": 1},
        virtual_s=900.5,
        counts={"records": 7},
        violations=violations,
    )


def test_the_mix_leaves_no_fault_and_no_size_out() -> None:
    seeds = range(200)
    assert Counter(map(size_of, seeds)).keys() == {size for size, _weight in MIX}
    met: Counter[str] = Counter()
    for seed in seeds:
        size = size_of(seed)
        plan = draw(seed, nodes=size.nodes, hours=size.hours)
        met.update({fault.kind for fault in plan.faults})
    assert met.keys() == KINDS.keys()
    everywhere = [count for kind, count in met.items() if not KINDS[kind].tasks]
    assert min(everywhere) >= 20, f"worlds with each kind: {met}"
    assert min(met.values()) >= 2, f"worlds with each kind: {met}"


def test_a_tally_is_what_its_report_tells() -> None:
    tally = Tally()
    tally.add(lived(0))
    tally.add(lived(1, Violation(promise="I3", where="seed 1", detail="lost")))
    assert Tally.of(tally.counts(), tally.violations).counts() == tally.counts()
    assert (tally.worlds, tally.failed, tally.violations) == (2, 1, ["I3 · seed 1: lost"])
    assert tally.counts()["faults"]["cut"] == 4
    assert tally.counts()["worlds_with_this_fault"]["cut"] == 2


def plain(folder: Path) -> dict[str, Any]:
    told = read("world", folder)
    for name in ("took_s", "worlds_a_second"):
        del told["counts"][name]
    return {name: told[name] for name in ("counts", "violations")}


def test_a_soak_in_parts_finds_what_a_whole_one_does(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(["world", "--seeds", "4", *SMALL, "--report", str(whole)]) == 0
    assert main(["world", "--seeds", "2", *SMALL, "--report", str(parts)]) == 0
    assert main(["world", "--seeds", "4", *SMALL, "--report", str(parts), "--from", "3"]) == 2
    assert main(["world", "--seeds", "4", *SMALL, "--report", str(parts), "--from", "2"]) == 0
    assert plain(parts) == plain(whole)
    assert "| `seeds` | 4 |" in (parts / "world.md").read_text()


def test_worlds_that_all_have_tasks_have_a_report_of_their_own(tmp_path: Path) -> None:
    argv = ["world", "--tasks", *SMALL, "--report", str(tmp_path), "--seeds"]
    assert main([*argv, "1"]) == 0
    assert main([*argv, "2", "--from", "1"]) == 0
    assert not (tmp_path / "world.md").exists()
    told = read("world-tasks", tmp_path)
    assert told["counts"]["worlds"] == 2
    assert told["counts"]["all_tasks"] > 0


def test_a_soak_that_was_ended_says_where_to_go_on(tmp_path: Path) -> None:
    argv = ["world", "--seeds", "1000", "--nodes", "2", "--hours", "0.05", "--processes", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "soak", *argv, "--report", str(tmp_path)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "the first world" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    done = read("world", tmp_path)["counts"]["worlds"]
    assert 0 < done < 1000
    assert f"go on with --from {done}" in said


@pytest.mark.parametrize(
    ("settings", "go_on", "code", "why"),
    [
        (WorldsSettings(seeds=9), 2, "other", "of commit this, and this is other"),
        (WorldsSettings(seeds=9, nodes=3), 2, "this", "of other worlds"),
        (WorldsSettings(seeds=9), 1, "this", "ends before seed 2"),
    ],
)
def test_only_the_same_soak_goes_on(
    tmp_path: Path, settings: WorldsSettings, go_on: int, code: str, why: str
) -> None:
    tally = Tally()
    tally.add(lived(0))
    tally.add(lived(1))
    began = datetime(2026, 3, 1, tzinfo=UTC)
    told = report(
        "world",
        began=began,
        settings=WorldsSettings(seeds=2).told(),
        counts=tally.counts(),
        violations=(),
        commit="this",
    )
    write(told, tmp_path)
    with pytest.raises(SoakError, match=why):
        before(settings, go_on, code, tmp_path)
    again = before(WorldsSettings(seeds=9), 2, "this", tmp_path)
    assert (again[0], again[1].counts()) == (began, tally.counts())
