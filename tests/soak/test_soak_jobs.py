"""A short soak of jobs; and the check finds what it is there to find, in a database that was damaged."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest
from center_jobs.stage import Stage

from soak.jobs import JobsSettings, JobsSoak
from soak.jobs_check import JobsCheck


@pytest.mark.processes
async def test_a_center_killed_in_the_middle_of_jobs_breaks_no_promise(tmp_path: Path) -> None:
    settings = JobsSettings(kills=3, nodes=2, seed=5)
    found = await JobsSoak(settings, tmp_path, lambda _text: None).run()
    assert [str(violation) for violation in found.violations] == []
    assert found.counts["kills"] == 3
    assert found.counts["jobs"] >= 2
    assert found.counts["commands_to_nodes"] >= 2
    assert found.counts["effects"] >= 1


DONE = "state='succeeded' AND node='n0002'"
SPEC = "UPDATE job SET spec=replace(spec, '{}', '{}')"

DAMAGES = [
    ("a transition of the table", f"UPDATE job_step SET state='undone' WHERE {DONE}"),
    ("every transition is a row", f"DELETE FROM job_step WHERE {DONE}"),
    ("nothing is sent twice", "DELETE FROM command_target WHERE node='n0002'"),
    ("never more at once than allowed", SPEC.format('"at_once":2', '"at_once":1')),
    ("no wave before its time", "DELETE FROM job_step WHERE state='ended' AND wave=1"),
    ("no wave without a person", SPEC.format('"approval":false', '"approval":true')),
    ("every job comes to its end", "UPDATE job SET state='halted'"),
    ("a key makes one job", "UPDATE job SET idempotency_key='another'"),
    ("an answered job is kept", "UPDATE job SET id='another'"),
    ("stopped means silent", "UPDATE job_step SET state='paused' WHERE state='running'"),
    ("every command ends", "UPDATE command_target SET state='sent' WHERE node='n0001'"),
]  # fmt: skip


@pytest.fixture
async def finished(tmp_path: Path) -> tuple[Path, str]:
    """The database of a center in which a job came to its end, and the job's id."""
    stage = await Stage(tmp_path / "center").start()
    try:
        await stage.fleet(6)
        body = {
            "name": "t1",
            "selector": "all",
            "command": {"verb": "ping"},
            "rules": {"waves": {"sizes": [2]}, "at_once": 2},
        }
        made = await stage.http.post("/jobs", json=body, headers={"Idempotency-Key": "t1"})
        await stage.until(made.json(), "succeeded")
    finally:
        await stage.stop()
    return tmp_path / "center" / "center.db", made.json()["id"]


def checked(database: Path, job_id: str) -> set[str]:
    check = JobsCheck(database, database.with_name("effects"))
    check.run({"t1": job_id})
    return {violation.promise for violation in check.violations}


def damaged(database: Path, damage: str) -> Path:
    """A copy of the database, after the statement."""
    copy = database.with_name("damaged.db")
    shutil.copy(database, copy)
    with contextlib.closing(sqlite3.connect(copy)) as connection, connection:
        assert connection.execute(damage).rowcount > 0, damage
    return copy


def test_the_check_finds_each_kind_of_damage_and_nothing_in_what_is_whole(
    finished: tuple[Path, str],
) -> None:
    database, job_id = finished
    assert checked(database, job_id) == set()
    for promise, damage in DAMAGES:
        assert promise in checked(damaged(database, damage), job_id), promise
    database.with_name("effects").write_text("t1 n0001\nt1 n0001\n")
    assert checked(database, job_id) == {"nothing happens twice"}
