"""A job says how its gates were judged, what time brings, what stays; and budgets count what is decided."""

from typing import Any

import pytest
from center_jobs.play import Play, job_of
from center_jobs.stage import Stage, told
from farshore_center.commands.model import RESTARTS
from farshore_center.jobs.gates import selector_verdict
from farshore_center.jobs.moments import Moment, next_moment
from farshore_center.jobs.rules import Rules, SelectorGate, Size, Waves
from farshore_center.jobs.state import Verdict
from farshore_center.jobs.waits import waits_for
from farshore_protocol.commands import VERBS

ONE_BY_ONE = {"waves": {"sizes": [1]}}


async def test_the_verdicts_on_the_gates_stand_in_the_job_and_survive_a_restart(
    stage: Stage,
) -> None:
    await stage.fleet(3)
    gates = [{"selector": "state=online"}, {"selector": "label.ok=yes"}]
    job = await stage.make(rules=ONE_BY_ONE | {"gates": gates, "soak_s": 60, "gate_wait_s": 1000})
    soaking = await stage.until_that(job, lambda f: "soak" in (f["waits_for"] or ""))
    until = soaking["waves"][0]["soaks_until"]
    assert soaking["gates"] == []
    assert soaking["next"] == {"what": "the soak of wave 1 ends", "at": until}
    assert soaking["waves"][1]["soaks_until"] is None
    stage.advance(61)
    found = await stage.until_that(job, lambda f: "gate" in (f["waits_for"] or ""))
    assert [each["holds"] for each in found["gates"]] == [True, False]
    assert found["gates"][0]["detail"] == "1 of 1 touched node matches state=online"
    assert found["gates"][0]["at"] > until
    assert found["next"]["what"] == "the time of wave 1's gates is up"
    # A person ends it: no step has held the verdicts yet.
    assert (await stage.call(job, "abort")).status_code == 200
    await stage.restart()
    after = await stage.get(f"/jobs/{job['id']}")
    assert [(e["holds"], e["detail"]) for e in after["gates"]] == [
        (e["holds"], e["detail"]) for e in found["gates"]
    ]


async def test_a_gate_that_opens_is_told_with_the_step_that_it_led_to(stage: Stage) -> None:
    await stage.fleet(2)
    job = await stage.make(rules=ONE_BY_ONE | {"gates": [{"selector": "state=online"}]})
    done = await stage.until(job, "succeeded")
    assert [each["detail"] for each in done["gates"]] == ["2 of 2 touched nodes match state=online"]


async def test_a_job_that_was_stopped_says_what_stays_whenever_it_is_looked_at(
    stage: Stage,
) -> None:
    await stage.fleet(3)
    stage.nodes.on_command = lambda *_: "failed"
    job = await stage.make(rules=ONE_BY_ONE)
    halted = await stage.until(job, "halted")
    stays = {"touched": 1, "counts": {"failed": 1}, "under_way": 0, "nodes": told(stage)}
    assert (halted["stays"], halted["next"]) == (stays, None)
    assert (await stage.call(job, "abort")).json()["stays"] == stays
    assert (await stage.get(f"/jobs/{job['id']}"))["stays"] == stays
    other = await stage.make(rules=ONE_BY_ONE)
    assert other["stays"] is None


async def test_time_opens_a_window(stage: Stage) -> None:
    await stage.fleet(1)
    windows = [{"cron": "0 2 * * *", "duration_s": 3600}]
    job = await stage.make(rules={"windows": windows})
    found = await stage.until_that(job, lambda f: "window" in (f["waits_for"] or ""))
    opens = {"what": "a maintenance window opens", "at": "2023-11-15T02:00:00.000Z"}
    assert found["next"] == opens
    assert "the maintenance window of 1 node, the next opens" in found["waits_for"]


# Budgets


@pytest.mark.parametrize("verb", ["reboot", "restart-agent"])
async def test_a_budget_counts_who_was_told_to_restart(stage: Stage, verb: str) -> None:
    await stage.fleet(3)
    stage.nodes.on_command = lambda _node, verb, _args: "succeeded" if verb == "ping" else None
    made = await stage.http.post("/commands", json={"node": "n0000", "verb": verb})
    assert made.status_code in (200, 201, 202), made.text
    rules = {"budgets": [{"group": "eu", "most": 1}]}
    job = await stage.make("not node:n0000", rules=rules)
    await stage.until_that(job, lambda f: "room for 2 nodes" in (f["waits_for"] or ""))
    assert "n0001" not in told(stage)
    assert "n0002" not in told(stage)
    command = made.json()["id"]
    await stage.nodes.answer("n0000", command, verb, "succeeded")
    await stage.until(job, "succeeded")


async def test_a_budget_counts_who_is_being_given_a_configuration(stage: Stage) -> None:
    await stage.fleet(2)
    stage.nodes.on_config = lambda *_: None
    patch: dict[str, Any] = {"patch": {"agent": {"log_level": "ERROR"}}}
    await stage.http.put("/config/node/n0000", json=patch)
    rules = {"budgets": [{"group": "eu", "most": 1}]}
    job = await stage.make("node:n0001", rules=rules)
    await stage.until_that(job, lambda f: "room for 1 node " in (f["waits_for"] or ""))
    assert told(stage) == []


def test_every_verb_that_restarts_something_counts() -> None:
    restarts = sorted(name for name, verb in VERBS.items() if "power" in verb.needs)
    assert ", ".join(map(repr, restarts)).join("()") in RESTARTS


# Pure


def test_what_time_brings_is_what_the_engine_does_then() -> None:
    rules = Rules(
        waves=Waves(sizes=(Size(count=1),)), soak_s=30, gates=(SelectorGate(selector="all"),),
        gate_wait_s=20, node_deadline_s=10, deadline_s=1000,
    )  # fmt: skip
    play = Play(job_of(rules, ["a", "b"], start_ms=5000, deadline_ms=1_000_000))
    play.answer = lambda _node, _attempt: (3, "succeeded")
    assert next_moment(play.snapshot, 0) == Moment(5000, "the job starts")
    play.run(5)
    (active,) = [each.node for each in play.snapshot.nodes if each.state == "active"]
    assert next_moment(play.snapshot, play.now_ms) == Moment(15_000, f"the deadline of {active}")
    assert waits_for(play.snapshot, play.now_ms) == "1 node that is under way"
    play.run(3)
    assert next_moment(play.snapshot, play.now_ms) == Moment(38_000, "the soak of wave 1 ends")
    play.run(30)
    assert next_moment(play.snapshot, play.now_ms) == Moment(
        58_000, "the time of wave 1's gates is up"
    )
    play.run(20)
    assert play.state == "halted"
    assert next_moment(play.snapshot, play.now_ms) is None


def test_a_verdict_counts_its_nouns() -> None:
    gate = SelectorGate(selector="label.ok=yes")
    assert selector_verdict(gate, {"a"}, set()) == Verdict(
        False, "only 0 of 1 touched node matches label.ok=yes (100 % have to); a does not"
    )
    assert selector_verdict(gate, {"a", "b"}, {"a", "b"}).detail == (
        "2 of 2 touched nodes match label.ok=yes"
    )


async def test_a_sentence_of_before_is_not_told_of_a_job_that_has_moved(stage: Stage) -> None:
    await stage.fleet(2)
    job = await stage.make(rules=ONE_BY_ONE | {"approval": True})
    await stage.until_that(job, lambda f: f["waits_for"] == "a person: approve wave 2")
    runner, reader = stage.center.jobs.runner, stage.center.jobs.reader
    before = runner.outlook(job["id"])
    reader._outlook = lambda _job: before  # as between a commit and the next look
    assert (await stage.call(job, "pause")).status_code == 200
    paused = await stage.get(f"/jobs/{job['id']}")
    assert paused["waits_for"] == "a person: resume, abort or roll back"
