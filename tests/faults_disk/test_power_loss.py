"""Whenever the power fails, what was answered is there; and a database that syncs less is found out."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from farshore_sim.faults import powerloss
from farshore_sim.faults.agent_workload import FILE, AgentWorkload
from farshore_sim.faults.crash_model import PAGE_BYTES, SECTOR_BYTES, Survival
from farshore_sim.faults.events import Event, Mark, Sync, Write
from farshore_sim.faults.powerloss import Load, PowerLoss, boundaries, judge, plan, replay, run
from farshore_sim.faults.recording import continued, record
from faults_disk.center_workload import CenterWorkload

pytestmark = pytest.mark.processes

CHECKPOINTS = "wal_autocheckpoint=20"
"""So that a short workload holds many checkpoints, and logs that start anew."""


class Resumed(AgentWorkload):
    """The subject of a second record: what was said in the first one still holds."""

    def __init__(self, load: Load, said: Sequence[str]) -> None:
        super().__init__(load)
        self._said = said

    async def check(self, folder: Path, said: Sequence[str]) -> str | None:
        return await super().check(folder, [*self._said, *said])


def agent(*pragmas: str, states: int, seed: int = 1, changes: int = 70) -> powerloss.Report:
    load = Load(seed=seed, changes=changes, pragmas=pragmas)
    return run(AgentWorkload(load), states=states, seed=seed)


def center(*pragmas: str, states: int, changes: int = 14) -> powerloss.Report:
    return run(
        CenterWorkload(Load(seed=2, changes=changes, pragmas=pragmas)), states=states, seed=2
    )


def test_the_agents_database_keeps_what_it_answered() -> None:
    report = agent(CHECKPOINTS, states=350)
    assert report.violations == []
    assert (report.states, report.syncs > 40, report.marks > 140) == (350, True, True)


def test_the_agents_database_as_it_is_without_a_checkpoint_until_it_is_closed() -> None:
    assert agent(states=100, seed=3, changes=50).violations == []


def test_the_center_keeps_what_it_acknowledged_and_stores_it_once() -> None:
    report = center(CHECKPOINTS, states=80)
    assert report.violations == []
    assert report.marks > 14


@pytest.mark.parametrize("pragma", ["synchronous=NORMAL", "synchronous=OFF"])
def test_an_agents_database_that_syncs_less_is_found_out(pragma: str) -> None:
    violations = agent(CHECKPOINTS, pragma, states=120, changes=40).violations
    assert any("changes were answered" in violation.detail for violation in violations)


def test_a_center_that_syncs_less_is_found_out() -> None:
    violations = center("synchronous=NORMAL", states=20, changes=6).violations
    assert any("acknowledged and not there" in violation.detail for violation in violations)


def test_power_that_fails_again_while_a_database_is_put_right_loses_nothing(
    tmp_path: Path,
) -> None:
    """What a power loss leaves is the beginning of the next record."""
    load = Load(seed=4, changes=25, pragmas=[CHECKPOINTS])
    subject = AgentWorkload(load)
    folder, marks = tmp_path / "data", tmp_path / "marks"
    folder.mkdir()
    first = record(subject.argv(folder, marks), folder=folder, names=subject.files, marks=marks)
    marks_at = [n for n, event in enumerate(first.events) if isinstance(event, Mark)]
    # Where a log has just been started anew there is nothing to put right: then an earlier point.
    for turn, point in enumerate(marks_at[-5::-9]):
        loss = PowerLoss(point=point, survival=Survival.TORN, unit_bytes=SECTOR_BYTES, seed=1)
        [(_, files)] = replay(first, [loss])
        again = tmp_path / f"again{turn}"
        again.mkdir()
        for name, content in files.items():
            (again / name).write_bytes(content)
        opens = [sys.executable, "-c", _OPENS, str(again / FILE)]
        second = record(opens, folder=again, names=subject.files, marks=tmp_path / "none")
        assert second.initial == files
        if len(second.events) > 5:
            break
    assert len(second.events) > 5
    resumed = Resumed(load, first.marks(point))
    assert asyncio.run(judge(second, resumed, states=60, seed=1)).violations == []


def test_syncs_that_fail_now_and_then_lose_nothing_that_was_answered() -> None:
    load = Load(seed=5, changes=40, pragmas=[CHECKPOINTS], callers=1)
    inject = "fdatasync:error=EIO:when=9+9"
    report = run(AgentWorkload(load), states=200, seed=5, inject=inject)
    assert report.violations == []
    assert report.failed_syncs > 5


def test_what_an_agent_sees_after_a_kill_is_durable_before_it_can_tell_anyone(
    tmp_path: Path,
) -> None:
    """Killed before a sync, started again, and then the power fails before the next commit."""
    load = Load(seed=4, changes=25)
    subject = AgentWorkload(load)
    folder, marks = tmp_path / "data", tmp_path / "marks"
    folder.mkdir()
    first = record(subject.argv(folder, marks), folder=folder, names=subject.files, marks=marks)
    kill = next(
        n
        for n, event in enumerate(first.events)
        if isinstance(event, Sync) and "answered 4" in first.marks(n)
    )
    kernel = PowerLoss(point=kill, survival=Survival.EVERYTHING, unit_bytes=PAGE_BYTES, seed=1)
    [(_, files)] = replay(first, [kernel])
    again, told = tmp_path / "again", tmp_path / "told"
    again.mkdir()
    for name, content in files.items():
        (again / name).write_bytes(content)
    opener = Path(__file__).with_name("agent_opener.py")
    argv = [sys.executable, str(opener), str(again / FILE), str(told), "4", "25"]
    second = record(argv, folder=again, names=subject.files, marks=told)
    whole = continued(first, kill, second)
    assert asyncio.run(judge(whole, subject, states=1, seed=1)).violations == []


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
    report = agent("journal_mode=DELETE", pragma, states=100, seed=5, changes=30)
    assert (report.violations == []) is holds


_OPENS = """
import asyncio, random, sys
from pathlib import Path
from farshore_edge.database import SqliteDatabase
from farshore_protocol.ids import Ids
asyncio.run(SqliteDatabase(Path(sys.argv[1]), Ids(random.Random(1))).close())
"""

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
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AgentWorkload, "argv", lambda *_: ["/bin/false"])
    assert powerloss.main(["--states", "1"]) == 2
    assert "exit code 1" in capsys.readouterr().err
