"""A job with a verb that the center's catalogue does not hold: some nodes have announced it."""

from typing import Any

from center_jobs.stage import Stage, told

WATER = {"verb": "water-the-plants", "args": {"litres": 2}}


def having(*verbs: str) -> dict[str, Any]:
    return {"capabilities": {"verbs": ["ping", *verbs], "drivers": [], "verbs_digest": None}}


async def test_a_verb_that_only_nodes_know_runs_and_who_lacks_it_counts_as_a_failure(
    stage: Stage,
) -> None:
    await stage.fleet(3)
    for node in ("n0000", "n0001"):
        await stage.birth(node, **having("water-the-plants"))
    await stage.birth("n0002", **having())
    heard: list[tuple[str, dict[str, Any]]] = []

    def answer(_node: str, verb: str, args: dict[str, Any]) -> str:
        heard.append((verb, args))
        return "succeeded"

    stage.nodes.on_command = answer
    job = await stage.make(command=WATER, rules={"success": {"minimum": 3}})
    halted = await stage.until(job, "halted")
    assert halted["reason"] == "1 of 3 nodes did not succeed; 100 % have to"
    assert halted["counts"] == {"succeeded": 2, "rejected": 1}
    assert heard == [("water-the-plants", {"litres": 2})] * 2
    (row,) = (await stage.get(f"/jobs/{job['id']}/nodes", state="rejected"))["items"]
    assert (row["node"], row["reason"]) == ("n0002", "the node has not announced the verb")


async def test_a_way_back_that_only_nodes_know_is_taken(stage: Stage) -> None:
    (node,) = await stage.fleet(1)
    await stage.birth(node, **having("drain"))
    job = await stage.make(command={"verb": "ping", "undo": {"verb": "drain"}})
    await stage.until(job, "succeeded")
    assert (await stage.call(job, "rollback")).status_code == 200
    await stage.until(job, "rolled_back")
    assert [verb for _, verb, _ in stage.nodes.told] == ["ping", "drain"]


async def test_a_job_goes_on_when_nobody_has_the_verb_any_more(stage: Stage) -> None:
    await stage.fleet(2)
    for node in stage.nodes.names:
        await stage.birth(node, **having("water-the-plants"))
    rules = {"waves": {"sizes": [1]}, "approval": True}
    job = await stage.make(command=WATER, rules=rules)
    await stage.until(job, "awaiting_approval")
    for node in stage.nodes.names:
        await stage.birth(node, **having())
    assert (await stage.call(job, "approve")).status_code == 200
    halted = await stage.until(job, "halted")
    assert halted["counts"] == {"succeeded": 1, "rejected": 1}


async def test_a_verb_that_none_of_the_nodes_has_is_refused_and_names_what_they_have(
    stage: Stage,
) -> None:
    await stage.fleet(2)
    await stage.birth("n0000", **having("water-the-plants"))
    await stage.birth("n0001", **having())
    body = {"name": "x", "selector": "node:n0001", "command": WATER}
    answer = await stage.http.post("/jobs", json=body)
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (422, "command.verb")
    assert error["expected"] == "one that they have: ping"
    back = body | {"command": {"verb": "ping", "undo": WATER}}
    (error,) = (await stage.http.post("/jobs/preview", json=back)).json()["errors"]
    assert error["field"] == "command.undo.verb"
    near = body | {"command": {"verb": "water-the-plant"}}
    answer = await stage.http.post("/jobs", json=near)
    assert "did you mean water-the-plants?" in answer.json()["errors"][0]["detail"]
    # Until a later start they may have got it; and it is known that there is such a verb.
    later = body | {"start": {"at": "2023-11-14T23:13:20Z"}}
    assert (await stage.http.post("/jobs", json=later)).status_code == 201
    assert told(stage) == []
