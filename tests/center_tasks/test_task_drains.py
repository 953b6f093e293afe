"""A drain, and a restart, end no more of a service at once than its budget permits; on real databases."""

import pytest
from center_tasks.databases import Databases, MakeStage, with_nodes
from center_tasks.databases import databases as databases
from center_tasks.databases import make as make
from center_tasks.databases import server as server

pytestmark = pytest.mark.processes


async def test_a_drained_node_is_emptied_no_faster_than_the_budget_permits(
    databases: Databases, make: MakeStage
) -> None:
    stage = await with_nodes(databases, make, "n1")
    await stage.put("web", count=8, requests={"cpu_cores": 0.1})
    await stage.step()
    assert await stage.where("web") == [("n1", "running")] * 8
    for name in ("n2", "n3"):
        await stage.node(name)
    node = stage.nodes["n1"]
    node.slow = True
    await stage.room.drains.drain("n1", None, "new fan", "ada")
    moved = 0
    while moved < 8:
        await stage.later(1.0)
        document = node.document
        assert document is not None
        leaving = [
            grant
            for grant in document.grants
            if grant.want == "stop"
            and node.holds["web", grant.instance, grant.epoch].state == "running"
        ]
        assert [grant.reason for grant in leaving] == ["drained"] * 2, "a quarter of eight"
        await stage.later(60.0)
        states = [state for _, state in await stage.where("web")]
        assert states.count("running") == 8, "what is told to end runs until its node says so"
        await stage.say("n1", *(node.say(grant, "stopped") for grant in leaving))
        await stage.step()
        moved += len(leaving)
    await stage.later(1.0)
    where = await stage.where("web")
    assert {name for name, _ in where} <= {"n2", "n3"}
    assert [state for _, state in where] == ["running"] * 8


async def test_a_restart_takes_one_after_the_other_to_its_end(
    databases: Databases, make: MakeStage
) -> None:
    stage = await with_nodes(databases, make, "n1", "n2")
    await stage.put("web", count=8, requests={"cpu_cores": 0.1})
    await stage.step()
    for node in stage.nodes.values():
        node.slow = True
    await stage.room.service.restart("web", "ada")
    for _ in range(4):
        await stage.step()
        ending = [
            (name, grant)
            for name, node in stage.nodes.items()
            for grant in (node.document.grants if node.document else ())
            if grant.want == "stop"
            and node.holds["web", grant.instance, grant.epoch].state == "running"
        ]
        assert len(ending) == 2, "a quarter of eight"
        for name, grant in ending:
            await stage.say(name, stage.nodes[name].say(grant, "stopped"))
    await stage.step()
    assert [state for _, state in await stage.where("web")] == ["running"] * 8
    assert {row["run"] for row in await stage.grants("web") if row["want"] == "run"} == {2}


async def test_a_new_specification_that_forgets_who_waits_is_begun_all_the_same(
    databases: Databases, make: MakeStage
) -> None:
    """One of three has no place; it is not wanted any more, and the other two are begun anew."""
    stage = await with_nodes(databases, make, "n1")
    await stage.put("web", count=3, requests={"cpu_cores": 1.0})
    await stage.step()
    assert await stage.where("web") == [("n1", "running"), ("n1", "running"), (None, "pending")]
    await stage.put("web", count=2, requests={"cpu_cores": 0.9})
    for _ in range(4):
        await stage.step()
    assert await stage.where("web") == [("n1", "running")] * 2
    assert {row["run"] for row in await stage.grants("web") if row["want"] == "run"} == {2}


async def test_at_the_deadline_of_a_drain_what_is_left_is_stopped_budget_or_not(
    databases: Databases, make: MakeStage
) -> None:
    stage = await with_nodes(databases, make, "n1")
    await stage.put("web", count=4, requests={"cpu_cores": 0.1})
    await stage.put("sums", kind="batch", requests={"cpu_cores": 0.1})
    await stage.step()
    await stage.node("n2")
    node = stage.nodes["n1"]
    node.slow = True
    await stage.room.drains.drain("n1", 100.0, "new fan", "ada")
    await stage.later(99.0)
    wants = [grant.want for grant in node.document.grants] if node.document else []
    assert sorted(wants) == ["run"] * 4 + ["stop"], "one of four services at a time, and no batch"
    await stage.begin_again("n1", "n2")
    await stage.later(2.0)
    assert node.document is not None
    assert {grant.want for grant in node.document.grants} == {"stop"}
