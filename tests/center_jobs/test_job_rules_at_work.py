"""The rules of a job in a whole center: time, windows, budgets, gates, following, cron."""

import asyncio
from typing import Any

import pytest
from center_jobs.stage import DEADLINE_S, Stage, doubled, told
from farshore_center.jobs.record import Record
from farshore_center.jobs.state import Facts
from farshore_center.jobs.surroundings import Surroundings
from farshore_center.telemetry.samples import Batch

ONE_BY_ONE = {"waves": {"sizes": [1]}}


async def test_silence_is_a_failure(stage: Stage) -> None:
    await stage.fleet(2)
    stage.nodes.on_command = lambda *_: None
    job = await stage.make(rules=ONE_BY_ONE | {"node_deadline_s": 10})
    await stage.until_that(job, lambda found: found["touched"] == 1)
    stage.advance(11)
    halted = await stage.until(job, "halted")
    assert halted["counts"] == {"silent": 1, "waiting": 1}


async def test_failed_is_tried_again_with_a_command_of_its_own(stage: Stage) -> None:
    await stage.fleet(1)
    answers = iter(["failed", "timed_out", "succeeded"])
    stage.nodes.on_command = lambda *_: next(answers)
    job = await stage.make(rules={"retries": 2})
    await stage.until(job, "succeeded")
    assert told(stage) == ["n0000"] * 3
    assert not doubled(command for _, _, command in stage.nodes.told)


async def test_a_job_starts_when_its_time_has_come(stage: Stage) -> None:
    await stage.fleet(1)
    at = "2023-11-14T23:13:20Z"  # an hour after the clock's beginning
    job = await stage.make(start={"at": at})
    await stage.until_that(job, lambda found: found["waits_for"] is not None)
    assert (job["state"], told(stage)) == ("scheduled", [])
    stage.advance(3600)
    await stage.until(job, "succeeded")


async def test_the_deadline_halts_a_job_and_a_person_gives_it_another(stage: Stage) -> None:
    await stage.fleet(2)
    job = await stage.make(rules=ONE_BY_ONE | {"approval": True, "deadline_s": 60})
    await stage.until(job, "awaiting_approval")
    stage.advance(61)
    assert "deadline" in (await stage.until(job, "halted"))["reason"]
    refused = await stage.call(job, "resume")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "deadline_s")
    assert (await stage.call(job, "resume", deadline_s=60)).status_code == 200
    await stage.until(job, "awaiting_approval")
    await stage.call(job, "approve")
    await stage.until(job, "succeeded")


async def test_a_window_is_open_in_the_nodes_own_time_zone(stage: Stage) -> None:
    """It is 22:13 in UTC, 23:13 in Berlin, 07:13 in Tokyo."""
    await stage.fleet(1, prefix="utc")
    await stage.fleet(1, prefix="label", timezone="Asia/Tokyo")
    await stage.fleet(1, prefix="fact")
    await stage.nodes.say(
        "fact0000",
        "rep/facts",
        "reports",
        {"digest": "d1", "facts": {"timezone": "Asia/Tokyo"}},
    )
    window = {"cron": "0 7 * * *", "duration_s": 3600}
    job = await stage.make(rules={"windows": [window]})
    await stage.until_that(job, lambda f: f["counts"].get("succeeded") == 2)
    assert sorted(told(stage)) == ["fact0000", "label0000"]
    await stage.until_that(job, lambda f: "2023-11-15T07:00:00" in (f["waits_for"] or ""))
    stage.advance(9 * 3600)
    await stage.birth("utc0000")  # it was silent for hours, and may be held for offline
    await stage.until(job, "succeeded")


async def test_a_window_that_opens_while_the_center_looks_is_not_missed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather = Surroundings.gather
    opens = asyncio.Event()

    async def slow(self: Surroundings, record: Record, *more: Any) -> Facts:
        facts = await gather(self, record, *more)
        if record.job.wave == 1 and not opens.is_set():  # its next step is to wait for the window
            opens.set()
            stage.clock.advance(9 * 3600)
        return facts

    monkeypatch.setattr(Surroundings, "gather", slow)
    await stage.fleet(1)
    job = await stage.make(rules={"windows": [{"cron": "0 7 * * *", "duration_s": 3600}]})
    await asyncio.wait_for(opens.wait(), DEADLINE_S)
    await stage.birth("n0000")
    await stage.until(job, "succeeded")


async def test_a_budget_counts_who_is_offline_or_in_another_job_or_ill(stage: Stage) -> None:
    await stage.fleet(10)
    await stage.offline("n0000")
    stage.nodes.on_command = lambda *_: None
    await stage.make("node:n0001")
    stage.nodes.on_config = lambda *_: "failed"
    await stage.http.put("/config/node/n0002", json={"patch": {"agent": {"log_level": "ERROR"}}})
    await stage.until_that(
        {"id": (await stage.get("/jobs"))["items"][0]["id"]}, lambda f: f["touched"] == 1
    )
    await stage.until_config("n0002", "failed")
    budget = {"group": "eu", "most": 4}
    job = await stage.make("not node in (n0000, n0001, n0002)", rules={"budgets": [budget]})
    found = await stage.until_that(job, lambda f: f["touched"] == 1)
    found = await stage.until_that(job, lambda f: "room for 6" in (f["waits_for"] or ""))
    assert found["counts"] == {"active": 1, "waiting": 6}
    await stage.birth("n0000")
    await stage.until_that(job, lambda f: f["touched"] == 2)


async def test_a_selector_gate_holds_the_next_wave(stage: Stage) -> None:
    await stage.fleet(3)
    rules = ONE_BY_ONE | {"gates": [{"selector": "label.ok=yes"}], "gate_wait_s": 1000}
    job = await stage.make(rules=rules)
    await stage.until_that(job, lambda f: "gate" in (f["waits_for"] or ""))
    assert len(told(stage)) == 1
    await stage.http.patch(f"/nodes/{told(stage)[0]}", json={"labels": {"ok": "yes"}})
    await stage.until_that(job, lambda f: "1 of 2" in (f["waits_for"] or ""))
    stage.advance(1001)
    halted = await stage.until(job, "halted")
    assert "label.ok=yes" in halted["reason"]
    assert len(told(stage)) == 2


async def test_a_metric_gate_compares_with_the_nodes_not_yet_touched(stage: Stage) -> None:
    names = await stage.fleet(4)
    rules = ONE_BY_ONE | {"gates": [{"series": "cpu.percent", "factor": 1.5}], "gate_wait_s": 60}
    job = await stage.make(rules=rules)
    await stage.until_that(job, lambda f: "no value" in (f["waits_for"] or ""))
    first = told(stage)[0]

    def measured(node: str, value: float) -> None:
        batch = Batch(ts_ms=stage.clock.now_ms(), dt_ms=[0], series={"cpu.percent": [value]})
        stage.center.history.note(node, batch)

    stage.advance(1)
    for name in names:
        measured(name, 90.0 if name == first else 10.0)
    stage.advance(3)
    await stage.until_that(job, lambda f: "90" in (f["waits_for"] or ""))
    assert len(told(stage)) == 1
    stage.advance(1)
    measured(first, 12.0)
    stage.advance(3)
    await stage.until_that(job, lambda _found: len(told(stage)) == 2)


async def test_who_comes_to_match_later_joins_a_following_job(stage: Stage) -> None:
    await stage.fleet(2, env="prod")
    rules = ONE_BY_ONE | {"deadline_s": 3600, "at_once": 1}
    job = await stage.make("label.env=prod", following=True, rules=rules)
    await stage.until_that(job, lambda f: f["counts"] == {"succeeded": 2})
    await stage.fleet(2, prefix="late", env="prod")
    await stage.until_that(job, lambda f: f["counts"] == {"succeeded": 4})
    assert not doubled(told(stage))
    stage.advance(3601)
    assert (await stage.until(job, "succeeded"))["reason"] == "followed until its deadline"


async def test_a_job_without_following_keeps_to_whom_it_meant(stage: Stage) -> None:
    await stage.fleet(1)
    job = await stage.make(rules=ONE_BY_ONE | {"soak_s": 60})
    await stage.until_that(job, lambda f: "soak" in (f["waits_for"] or ""))
    await stage.fleet(1, prefix="late")
    stage.advance(61)
    assert (await stage.until(job, "succeeded"))["total"] == 1
    assert told(stage) == ["n0000"]


# Cron


async def children(stage: Stage, parent: dict[str, Any]) -> list[dict[str, Any]]:
    return list((await stage.get("/jobs", parent=parent["id"]))["items"])


async def test_each_occurrence_of_a_cron_rule_is_a_job_of_its_own(stage: Stage) -> None:
    await stage.fleet(1)
    parent = await stage.make(start={"cron": "0 * * * *"})
    assert (parent["state"], parent["next_at"]) == ("scheduled", "2023-11-14T23:00:00.000Z")
    stage.advance(47 * 60)
    for number, following in ((1, "2023-11-15T00:00:00.000Z"), (2, "2023-11-15T01:00:00.000Z")):
        await until_next(stage, parent, following)
        found = await children(stage, parent)
        assert len(found) == number
        await stage.until(found[0], "succeeded")
        stage.advance(3600)
    await until_next(stage, parent, "2023-11-15T02:00:00.000Z")
    assert {each["parent"] for each in await children(stage, parent)} == {parent["id"]}
    assert (await stage.call(parent, "abort")).status_code == 200
    assert (await stage.get(f"/jobs/{parent['id']}"))["next_at"] is None
    stage.advance(3600)
    assert len(await children(stage, parent)) == 3


async def until_next(stage: Stage, parent: dict[str, Any], at: str) -> dict[str, Any]:
    return await stage.until_that(parent, lambda found: bool(found["next_at"] == at))


async def test_what_was_missed_while_the_center_was_down_is_left_out(stage: Stage) -> None:
    await stage.fleet(1)
    parent = await stage.make(start={"cron": "0 * * * *"})
    await stage.stop()
    stage.clock.advance(3 * 3600)
    await stage.start()
    found = await until_next(stage, parent, "2023-11-15T02:00:00.000Z")
    assert found["state"] == "scheduled"
    assert await children(stage, parent) == []
    last = (await stage.get(f"/jobs/{parent['id']}/history"))["items"][-1]
    assert last["state"] == "left_out"
    assert "missed" in last["reason"]


async def test_an_occurrence_never_comes_beside_an_earlier_one_that_is_not_over(
    stage: Stage,
) -> None:
    await stage.fleet(1)
    stage.nodes.on_command = lambda *_: None
    parent = await stage.make(start={"cron": "0 * * * *"}, rules={"node_deadline_s": 90_000})
    stage.advance(47 * 60)
    await until_next(stage, parent, "2023-11-15T00:00:00.000Z")
    (first,) = await children(stage, parent)
    stage.advance(3600)
    await until_next(stage, parent, "2023-11-15T01:00:00.000Z")
    assert len(await children(stage, parent)) == 1
    last = (await stage.get(f"/jobs/{parent['id']}/history"))["items"][-1]
    assert first["id"] in last["reason"]
