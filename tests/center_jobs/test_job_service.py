"""Jobs on a real database: made, run, stopped, approved, rolled back; what is sent, and what is not."""

from typing import Any

from center_jobs.stage import Stage, doubled, told

DEBUG = {"patch": {"agent": {"log_level": "DEBUG"}}}
UNDO = {"verb": "ping", "undo": {"verb": "status"}}
ONE_BY_ONE = {"waves": {"sizes": [1]}}


async def test_a_job_runs_in_waves_to_its_end_and_every_transition_is_a_row(stage: Stage) -> None:
    await stage.fleet(10)
    job = await stage.make(rules={"waves": {"sizes": [1, 3]}})
    done = await stage.until(job, "succeeded")
    assert done["counts"] == {"succeeded": 10}
    assert (done["total"], done["touched"], done["waits_for"]) == (10, 10, None)
    assert [wave["nodes"] for wave in done["waves"]] == [1, 3, 3, 3]
    assert {wave["state"] for wave in done["waves"]} == {"ended"}
    assert sorted(told(stage)) == [f"n{each:04}" for each in range(10)]
    assert not doubled(told(stage))
    rows = await stage.said(job)
    of_node = [state for node, state, _ in rows if node == "n0003"]
    assert of_node == ["active", "succeeded"]
    of_job = [state for node, state, _ in rows if node is None]
    assert of_job == ["scheduled", "running", *["opened", "ended"] * 4, "succeeded"]


async def test_a_bad_payload_for_a_thousand_nodes_stops_at_one_percent(stage: Stage) -> None:
    await stage.fleet(1000)
    stage.nodes.on_command = lambda *_: "failed"
    rules = {"waves": {"sizes": ["1%", "100%"]}, "at_once": 1000}
    job = await stage.make(rules=rules)
    halted = await stage.until(job, "halted")
    assert 0 < len(set(told(stage))) <= 10
    assert halted["touched"] == len(told(stage))
    assert halted["counts"]["waiting"] >= 990
    assert "did not succeed" in halted["reason"]
    assert halted["waits_for"].startswith("a person")


async def test_what_a_node_said_is_the_reason_of_its_row(stage: Stage) -> None:
    await stage.fleet(1)
    stage.nodes.on_command = lambda *_: "failed"
    job = await stage.make()
    await stage.until(job, "halted")
    (row,) = (await stage.get(f"/jobs/{job['id']}/nodes"))["items"]
    assert (row["state"], row["reason"], row["attempts"]) == ("failed", "it failed", 1)
    command = await stage.get(f"/commands/{row['command']}")
    assert command["by"] == f"job:{job['id']}"


# Configuration


async def test_a_configuration_reaches_its_nodes_wave_by_wave_and_goes_back(stage: Stage) -> None:
    await stage.fleet(4)
    job = await stage.make(config=DEBUG, rules=ONE_BY_ONE | {"approval": True})
    await stage.until(job, "awaiting_approval")
    assert len(stage.nodes.configs) == 1
    (first,) = stage.nodes.configs
    explained = await stage.get(f"/nodes/{first}/config", explain="true")
    assert explained["origin"] == {"/agent/log_level": f"overlay:job-{job['id']}@1"}
    assert (await stage.call(job, "approve", author="grace", wave=2)).status_code == 200
    found = await stage.until_that(job, lambda f: f["touched"] == 2 and f["can"][0] == "approve")
    assert found["waves"][1]["approved_by"] == "grace"
    assert found["waves"][1]["approved_at"] is not None
    assert len(stage.nodes.configs) == 2
    await stage.call(job, "pause")
    assert (await stage.call(job, "rollback", author="grace")).status_code == 200
    back = await stage.until(job, "rolled_back")
    assert back["counts"] == {"waiting": 2, "undone": 2}
    assert set(map(str, stage.nodes.configs.values())) == {"{}"}
    for node in stage.nodes.names:
        assert (await stage.get(f"/nodes/{node}/config"))["config"] == {}


async def test_a_configuration_that_a_node_does_not_keep_halts_the_job(stage: Stage) -> None:
    await stage.fleet(20)
    stage.nodes.on_config = lambda *_: "rolled_back"
    job = await stage.make(config=DEBUG, rules={"waves": {"sizes": ["5%"]}})
    halted = await stage.until(job, "halted")
    assert halted["touched"] == 1
    (row,) = (await stage.get(f"/jobs/{job['id']}/nodes", state="failed"))["items"]
    assert row["reason"] == "no"
    assert row["config_rev"] == 1


async def test_the_layer_of_a_job_stays_until_a_person_takes_it_over(stage: Stage) -> None:
    await stage.fleet(2)
    job = await stage.make("group:eu", config=DEBUG)
    layer = f"/config/overlay/job-{job['id']}"
    await stage.until(job, "succeeded")
    assert (await stage.http.put(layer, json={"patch": {}})).status_code == 409
    before = {n: (await stage.get(f"/nodes/{n}"))["config"] for n in stage.nodes.names}
    assert (await stage.http.put("/config/group/eu", json=DEBUG)).json()["nodes"] == 0
    assert (await stage.http.delete(layer)).status_code == 204
    after = {n: (await stage.get(f"/nodes/{n}"))["config"] for n in stage.nodes.names}
    assert after == before
    assert {each["state"] for each in after.values()} == {"applied"}


async def test_the_layer_of_a_job_that_is_not_over_can_not_be_ended(stage: Stage) -> None:
    await stage.fleet(2)
    job = await stage.make(config=DEBUG, rules=ONE_BY_ONE | {"approval": True})
    await stage.until(job, "awaiting_approval")
    answer = await stage.http.delete(f"/config/overlay/job-{job['id']}")
    assert answer.status_code == 409
    assert "awaiting_approval" in answer.json()["detail"]


async def test_a_layer_of_a_job_stands_where_its_priority_says(stage: Stage) -> None:
    await stage.fleet(1)
    await stage.http.put("/overlays/high", json={"selector": "all", "priority": 500})
    await stage.http.put("/config/overlay/high", json={"patch": {"agent": {"log_level": "ERROR"}}})
    low = await stage.make(config=DEBUG | {"priority": 499})
    await stage.until(low, "succeeded")
    assert (await stage.get("/nodes/n0000/config"))["config"]["agent"]["log_level"] == "ERROR"
    high = await stage.make(config=DEBUG | {"priority": 501})
    await stage.until(high, "succeeded")
    assert stage.nodes.configs["n0000"]["agent"]["log_level"] == "DEBUG"


# People


async def test_a_paused_job_sends_nothing_and_goes_on(stage: Stage) -> None:
    await stage.fleet(3)
    stage.nodes.on_command = lambda *_: None
    job = await stage.make(rules=ONE_BY_ONE)
    await stage.until_that(job, lambda found: found["touched"] == 1)
    assert (await stage.call(job, "pause", author="ada", message="lunch")).status_code == 200
    assert (await stage.call(job, "pause", author="ada")).status_code == 200
    (node, verb, command) = stage.nodes.told[0]
    await stage.nodes.answer(node, command, verb, "succeeded")
    found = await stage.until_that(job, lambda f: f["counts"].get("succeeded") == 1)
    assert (found["state"], found["reason"]) == ("paused", "lunch")
    assert len(stage.nodes.told) == 1
    stage.nodes.on_command = lambda *_: "succeeded"
    await stage.call(job, "resume", author="grace")
    await stage.until(job, "succeeded")
    assert not doubled(told(stage))
    by = [(state, who) for node, state, who in await stage.said(job) if node is None]
    assert ("paused", "ada") in by
    assert ("running", "grace") in by


async def test_a_stopped_job_takes_back_what_was_not_sent(stage: Stage) -> None:
    await stage.fleet(3)
    await stage.offline("n0001")
    stage.nodes.on_command = lambda *_: None
    job = await stage.make()
    await stage.until_that(job, lambda _found: len(stage.nodes.told) == 2)
    answer = await stage.call(job, "abort")
    stays = answer.json()["stays"]
    assert (stays["touched"], stays["under_way"], sorted(stays["nodes"])) == (
        2, 2, ["n0000", "n0002"],
    )  # fmt: skip
    await stage.birth("n0001")
    probe = await stage.http.post("/commands", json={"node": "n0001", "verb": "status"})
    await stage.until_that(job, lambda _found: len(stage.nodes.told) == 3)
    assert stage.nodes.told[-1] == ("n0001", "status", probe.json()["id"])
    assert (await stage.states(job))["n0001"] == "waiting"


async def test_of_an_aborted_job_late_answers_are_still_written(stage: Stage) -> None:
    await stage.fleet(1)
    stage.nodes.on_command = lambda *_: None
    job = await stage.make()
    await stage.until_that(job, lambda _found: len(stage.nodes.told) == 1)
    await stage.call(job, "abort")
    (node, verb, command) = stage.nodes.told[0]
    await stage.nodes.answer(node, command, verb, "succeeded")
    found = await stage.until_that(job, lambda f: f["counts"] == {"succeeded": 1})
    assert found["state"] == "aborted"


async def test_a_halted_job_is_resumed_with_its_failures_forgiven(stage: Stage) -> None:
    await stage.fleet(4)
    ill: list[str] = []

    def answer(node: str, _verb: str, _args: dict[str, Any]) -> str:
        ill.append(node)
        return "failed" if node == ill[0] else "succeeded"

    stage.nodes.on_command = answer
    job = await stage.make(rules=ONE_BY_ONE)
    await stage.until(job, "halted")
    await stage.call(job, "resume")
    done = await stage.until(job, "succeeded")
    assert done["counts"] == {"failed": 1, "succeeded": 3}
    (row,) = (await stage.get(f"/jobs/{job['id']}/nodes", state="failed"))["items"]
    assert row["forgiven"] is True


async def test_a_rollback_undoes_at_the_touched_nodes_alone(stage: Stage) -> None:
    await stage.fleet(5)
    job = await stage.make(command=UNDO, rules={"waves": {"sizes": [2]}, "approval": True})
    await stage.until(job, "awaiting_approval")
    touched = set(told(stage))
    await stage.call(job, "pause")
    await stage.call(job, "rollback", author="ada")
    back = await stage.until(job, "rolled_back")
    assert back["counts"] == {"undone": 2, "waiting": 3}
    assert {node for node, verb, _ in stage.nodes.told if verb == "status"} == touched


async def test_what_a_state_does_not_permit_is_refused_with_what_it_permits(stage: Stage) -> None:
    await stage.fleet(1)
    job = await stage.make()
    done = await stage.until(job, "succeeded")
    for call in ("pause", "resume", "abort", "approve", "rollback"):
        answer = await stage.call(job, call)
        assert answer.status_code == 409, call
        assert (answer.json()["state"], answer.json()["can"]) == ("succeeded", [])
    assert "no undo" in (await stage.call(job, "rollback")).json()["detail"]
    stale = await stage.http.post(f"/jobs/{job['id']}/abort", headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    assert (await stage.get(f"/jobs/{job['id']}"))["revision"] == done["revision"]


async def test_only_the_wave_that_waits_can_be_approved(stage: Stage) -> None:
    await stage.fleet(2)
    job = await stage.make(rules=ONE_BY_ONE | {"approval": True})
    await stage.until(job, "awaiting_approval")
    assert (await stage.call(job, "approve", wave=3)).status_code == 409
    assert (await stage.call(job, "approve", wave=2)).status_code == 200
    await stage.until(job, "succeeded")
    assert (await stage.call(job, "approve", wave=2)).status_code == 200  # sent again


async def test_the_same_key_makes_one_job(stage: Stage) -> None:
    await stage.fleet(1)
    body = {"name": "a", "selector": "all", "command": {"verb": "ping"}}
    key = {"Idempotency-Key": "k1"}
    first = await stage.http.post("/jobs", json=body, headers=key)
    again = await stage.http.post("/jobs", json=body, headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    other = await stage.http.post("/jobs", json=body | {"name": "b"}, headers=key)
    assert other.status_code == 422
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"
    assert len((await stage.get("/jobs"))["items"]) == 1


async def test_a_center_that_was_started_anew_goes_on_and_sends_nothing_twice(
    stage: Stage,
) -> None:
    await stage.fleet(6)
    stage.nodes.on_command = lambda *_: None
    job = await stage.make(rules={"waves": {"sizes": [2]}})
    await stage.until_that(job, lambda _found: len(stage.nodes.told) == 2)
    await stage.restart()
    for node, verb, command in list(stage.nodes.told):
        await stage.nodes.answer(node, command, verb, "succeeded")
    stage.nodes.on_command = lambda *_: "succeeded"
    done = await stage.until(job, "succeeded")
    assert done["counts"] == {"succeeded": 6}
    assert not doubled(told(stage))


async def test_a_restored_center_starts_no_node_until_a_person_resumes(stage: Stage) -> None:
    await stage.fleet(1)
    await stage.offline("n0000")
    await stage.stop()
    object.__setattr__(stage.settings, "restored", True)
    await stage.start()
    await stage.birth("n0000")
    job = await stage.make()
    found = await stage.until_that(job, lambda f: "restored" in (f["waits_for"] or ""))
    assert (found["state"], stage.nodes.told) == ("scheduled", [])
    await stage.http.post("/center/resume")
    await stage.until(job, "succeeded")


async def test_events_tell_of_the_job_with_its_counts(stage: Stage) -> None:
    await stage.fleet(2)
    job = await stage.make(rules=ONE_BY_ONE)
    await stage.until(job, "succeeded")
    found = await stage.get("/events", job=job["id"], limit=100)
    kinds = [event["kind"] for event in found["items"]]
    assert kinds[0] == "job.created"
    assert kinds[-1] == "job.state"
    assert {"job.wave", "job.nodes"} < set(kinds)
    assert all(event["job"] == job["id"] for event in found["items"])
    last = found["items"][-1]["data"]
    assert (last["before"], last["state"], last["counts"]) == (
        "running", "succeeded", {"succeeded": 2},
    )  # fmt: skip


async def test_a_node_that_vanished_before_its_turn_is_left_out(stage: Stage) -> None:
    await stage.fleet(3)
    job = await stage.make(rules=ONE_BY_ONE | {"approval": True})
    await stage.until(job, "awaiting_approval")
    gone = next(n for n in stage.nodes.names if n not in told(stage))
    await stage.offline(gone)
    assert (await stage.http.delete(f"/nodes/{gone}")).status_code == 204
    await stage.call(job, "approve")
    done = await stage.until(job, "succeeded")
    assert (done["total"], done["counts"]) == (2, {"succeeded": 2, "left": 1})
    (row,) = (await stage.get(f"/jobs/{job['id']}/nodes", state="left"))["items"]
    assert (row["node"], row["reason"]) == (gone, "the node is not known any more")
