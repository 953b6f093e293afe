"""What can't be is refused when a job is made, by its field; and what a job would be."""

from typing import Any

import pytest
from center_jobs.stage import Stage

PING = {"verb": "ping"}
LAMP: dict[str, Any] = {"command": None, "config": {"patch": {"lamp": 1}}}
WRONG = {"agent": {"log_level": 7}}
NEVER = {"cron": "0 0 30 2 *", "duration_s": 60}
BAD = [
    ("nothing to do", {"command": None}, "command"),
    ("two things to do", {"config": {"patch": {"a": 1}}, "command": PING}, "command"),
    ("an unknown verb", {"command": {"verb": "pin"}}, "command.verb"),
    ("a wrong argument", {"command": {"verb": "exec", "args": {"argv": "x"}}}, "command.args.argv"),
    ("a wrong way back", {"command": PING | {"undo": {"verb": "und"}}}, "command.undo.verb"),
    ("a bad selector", {"selector": "group:"}, "selector"),
    ("nobody", {"selector": "label.env=none"}, "selector"),
    ("an unknown field", {"rules": {"canary": 1}}, "rules.canary"),
    ("a percentage beyond", {"rules": {"waves": {"sizes": ["101%"]}}}, "rules.waves.sizes.0"),
    ("no percentage", {"rules": {"waves": {"sizes": [0]}}}, "rules.waves.sizes.0"),
    ("a gate nobody can read", {"rules": {"gates": [{"selector": "x ="}]}}, "rules.gates.0.selector"),
    ("a budget of no group", {"rules": {"budgets": [{"group": "mars", "most": 1}]}}, "rules.budgets.0.group"),
    ("a budget of nobody", {"rules": {"budgets": [{"group": "eu", "most": "1%"}]}}, "rules.budgets.0"),
    ("a window that never opens", {"rules": {"windows": [NEVER]}}, "rules.windows.0.cron"),
    ("more than there are", {"rules": {"success": {"minimum": 9}}}, "rules.success.minimum"),
    ("a start in the past", {"start": {"at": "2020-01-01T00:00:00Z"}}, "start.at"),
    ("an endless following", {"following": True}, "rules.deadline_s"),
    ("an empty patch", {"command": None, "config": {"patch": {}}}, "config.patch"),
    ("a configuration tried again", LAMP | {"rules": {"retries": 1}}, "rules.retries"),
    ("a configuration that is none", LAMP | {"config": {"patch": WRONG}}, "/agent/log_level"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "field"), [each[1:] for each in BAD], ids=[e[0] for e in BAD])
async def test_what_can_not_be_is_refused_by_its_field(
    stage: Stage, body: dict[str, Any], field: str
) -> None:
    await stage.fleet(1)
    whole = {"name": "a job", "selector": "all", "command": PING} | body
    answer = await stage.http.post("/jobs", json=whole)
    assert answer.status_code == 422, answer.text
    errors = answer.json()["errors"]
    assert field in [error["field"] for error in errors]
    assert all(error["detail"] for error in errors)
    assert (await stage.get("/jobs"))["items"] == []


async def test_an_empty_selection_is_done_at_once_when_it_is_allowed(stage: Stage) -> None:
    job = await stage.make("label.env=none", allow_empty=True)
    assert (await stage.until(job, "succeeded"))["total"] == 0


async def test_a_preview_says_which_waves_there_would_be_and_writes_nothing(stage: Stage) -> None:
    await stage.fleet(10)
    body = {
        "name": "a job",
        "selector": "all",
        "command": PING,
        "rules": {"waves": {"sizes": [1, "20%"], "factor": 2}, "success": {"minimum": 99}},
    }
    found = (await stage.http.post("/jobs/preview", json=body)).json()
    assert [wave["nodes"] for wave in found["waves"]] == [1, 2, 4, 3]
    assert found["nodes"] == 10
    assert [fault["field"] for fault in found["faults"]] == ["rules.success.minimum"]
    assert (await stage.get("/jobs"))["items"] == []
