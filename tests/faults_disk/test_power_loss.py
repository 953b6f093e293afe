"""Whenever the power fails, what was answered is there; and a database that syncs less is found out."""

import json
from pathlib import Path

import pytest
from farshore_sim.faults import powerloss
from farshore_sim.faults.agent_workload import AgentWorkload
from farshore_sim.faults.crash_model import Survival
from farshore_sim.faults.powerloss import Load, boundaries, plan, run
from farshore_sim.faults.recording import Event, Mark, Sync, Write

from faults_disk.center_workload import CenterWorkload

pytestmark = pytest.mark.processes

CHECKPOINTS = "wal_autocheckpoint=20"
"""So that a short workload holds many checkpoints, and logs that start anew."""


def agent(*pragmas: str, states: int, seed: int = 1, changes: int = 70) -> powerloss.Report:
    load = Load(seed=seed, changes=changes, pragmas=pragmas)
    return run(AgentWorkload(load), states=states, seed=seed)


def center(*pragmas: str, states: int, changes: int = 20) -> powerloss.Report:
    return run(
        CenterWorkload(Load(seed=2, changes=changes, pragmas=pragmas)), states=states, seed=2
    )


def test_the_agents_database_keeps_what_it_answered() -> None:
    report = agent(CHECKPOINTS, states=500)
    assert report.violations == []
    assert (report.states, report.syncs > 40, report.marks > 140) == (500, True, True)


def test_the_agents_database_as_it_is_without_a_checkpoint_until_it_is_closed() -> None:
    assert agent(states=200, seed=3, changes=50).violations == []


def test_the_center_keeps_what_it_acknowledged_and_stores_it_once() -> None:
    report = center(CHECKPOINTS, states=110)
    assert report.violations == []
    assert report.marks > 20


@pytest.mark.parametrize("pragma", ["synchronous=NORMAL", "synchronous=OFF"])
def test_an_agents_database_that_syncs_less_is_found_out(pragma: str) -> None:
    violations = agent(CHECKPOINTS, pragma, states=120, changes=40).violations
    assert any("changes were answered" in violation.detail for violation in violations)


def test_a_center_that_syncs_less_is_found_out() -> None:
    violations = center("synchronous=NORMAL", states=40, changes=12).violations
    assert any("acknowledged and not there" in violation.detail for violation in violations)


@pytest.mark.parametrize(
    ("pragma", "holds"),
    [
        # Documented by SQLite: FULL does not sync the folder after it has deleted the journal.
        pytest.param("synchronous=FULL", False, id="FULL may forget the last commit"),
        pytest.param("synchronous=EXTRA", True, id="EXTRA does not"),
    ],
)
def test_the_model_tells_what_sqlite_documents_of_rollback_journals(
    pragma: str, holds: bool
) -> None:
    report = agent("journal_mode=DELETE", pragma, states=200, seed=5, changes=30)
    assert (report.violations == []) is holds


EVENTS: list[Event] = [
    Write(name="f", offset=0, data=b"a"),
    Sync(name="f", since=1),
    Mark(text="answered 1"),
    Write(name="f", offset=1, data=b"b"),
]


def test_the_power_fails_on_both_sides_of_every_sync_with_nothing_but_what_was_synced() -> None:
    assert boundaries(EVENTS) == [1, 2, 4]
    losses = plan(EVENTS, states=1, seed=1)
    assert [(loss.point, loss.survival) for loss in losses] == [
        (point, Survival.NOTHING) for point in (1, 2, 4)
    ]


def test_a_plan_is_the_same_for_the_same_seed_and_as_long_as_asked() -> None:
    losses = plan(EVENTS, states=200, seed=1)
    assert len(losses) == 200
    assert losses == plan(EVENTS, states=200, seed=1) != plan(EVENTS, states=200, seed=2)
    assert {loss.survival for loss in losses} == set(Survival)
    assert {loss.point for loss in losses} == {0, 1, 2, 3, 4}


def test_the_command_line_reports_and_fails_when_something_was_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--states", "20", "--seed", "9", "--changes", "8"]
    assert powerloss.main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["seed"], report["violations"], report["states"] >= 20) == (9, [], True)
    assert powerloss.main([*words, "--pragma", "synchronous=OFF"]) == 1
    said = capsys.readouterr().out
    assert "violations" in said
    assert "changes were answered" in said


def test_a_workload_that_fails_is_no_report(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(AgentWorkload, "argv", lambda self, folder, marks: ["/bin/false"])
    assert powerloss.main(["--states", "1"]) == 2
    assert "exit code 1" in capsys.readouterr().err
