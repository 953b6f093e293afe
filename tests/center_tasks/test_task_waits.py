"""A batch waits for the busy node with its data, goes when it should, and says why: on a real database."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from center_tasks.moving_stage import Node, Stage
from farshore_center.placement.waiting import CLEARLY

MakeStage = Callable[..., Awaitable[Stage]]
MB = 10**6


def over(size_bytes: int, run_s: float = 60.0, **more: Any) -> dict[str, Any]:
    """A batch that fills a node of the edge, over data at ``cam``."""
    return {
        "kind": "batch",
        "requests": {"cpu_cores": 2.0},
        "reads": [{"where": "node:cam", "bytes": size_bytes}],
        "run_s": run_s,
        **more,
    }


async def edge_and_core(
    make_stage: MakeStage, *, core: bool = True, first_s: float = 60.0
) -> tuple[Stage, Node]:
    """``cam`` runs ``first``, which takes ``first_s`` by its hint."""
    stage = await make_stage()
    cam = await stage.node("cam", group="eu")
    await stage.put("first", **over(0, first_s))
    await stage.step()
    assert await stage.where("first") == [("cam", "running")]
    if core:
        await stage.node("core-1", cores=64, group="core")
    return stage, cam


async def ends(stage: Stage, node: Node, task: str) -> None:
    """What runs of it there has succeeded."""
    assert node.document is not None
    (grant,) = [each for each in node.document.grants if each.task == task and each.want == "run"]
    await stage.say(node.name, node.say(grant, "succeeded", exit_code=0), node.report())
    await stage.step()


async def test_it_waits_for_the_node_with_its_data_and_goes_there_when_that_has_room(
    make_stage: MakeStage,
) -> None:
    stage, cam = await edge_and_core(make_stage)
    await stage.put("second", **over(600 * MB))
    await stage.step()
    assert await stage.where("second") == [(None, "pending")]
    why = await stage.explained("second")
    assert (why["decision"], why["node"], why["estimate"]) == ("waiting", None, [])
    waits = why["waits"]
    assert (waits["node"], waits["ahead"], waits["instead"]) == ("cam", 0, "core-1")
    assert waits["instead_s"] > 600
    told = {each["name"]: (each["value"], each["origin"]) for each in waits["estimate"]}
    assert told["wait"] == (60.0, "hint")
    assert told["completion"] == (120.0, "hint")
    assert stage.room.stats()["waiting"] == 1
    assert stage.room.stats()["unplaceable"] == 0

    # It is looked at again, and nothing new is to be told.
    await stage.later(20)
    await stage.later(20)
    (reason,) = [line[2] for line in await stage.lines("second") if line[0] == "waiting"]
    assert reason is not None
    assert reason.startswith("it waits: cam should have room at about ")
    assert "core-1 has room now, and would take 6" in reason
    assert (await stage.instances("second"))[0]["pending_reason"] == reason

    await ends(stage, cam, "first")
    assert await stage.where("second") == [("cam", "running")]
    assert (await stage.explained("second"))["waits"] is None
    assert stage.room.stats()["waiting"] == 0


async def test_where_the_way_to_the_core_is_short_it_does_not_wait(make_stage: MakeStage) -> None:
    stage, _ = await edge_and_core(make_stage)
    await stage.put("second", **over(MB))
    await stage.step()
    assert await stage.where("second") == [("core-1", "running")]


async def test_what_runs_much_longer_than_expected_is_not_waited_for(make_stage: MakeStage) -> None:
    stage, _ = await edge_and_core(make_stage)
    await stage.put("second", **over(600 * MB))
    await stage.step()
    await stage.later(61)
    assert await stage.where("second") == [(None, "pending")], "it may be a little late"
    await stage.later(20)
    assert await stage.where("second") == [("core-1", "running")]


async def test_services_wait_for_no_busy_node_and_nobody_waits_for_a_service(
    make_stage: MakeStage,
) -> None:
    stage, _ = await edge_and_core(make_stage)
    await stage.put("served", **over(600 * MB, kind="service"))
    await stage.step()
    assert await stage.where("served") == [("core-1", "running")]

    other = await stage.node("mic", group="us")
    await stage.put("lasting", requests={"cpu_cores": 2.0}, constraint="node:mic")
    await stage.step()
    assert [each.task for each in other.holds.values()] == ["lasting"]
    await stage.put("later", **over(0, reads=[{"where": "node:mic", "bytes": 600 * MB}]))
    await stage.step()
    assert await stage.where("later") == [("core-1", "running")]


async def test_who_waits_stands_in_a_queue_and_who_is_too_far_back_goes_elsewhere(
    make_stage: MakeStage,
) -> None:
    """Ten batches of a minute each; the way to the core takes ten, and each a minute there."""
    stage, cam = await edge_and_core(make_stage)
    for number in range(10):
        await stage.put(f"b{number}", **over(600 * MB))
        await stage.step()
    found = [await stage.explained(f"b{number}") for number in range(10)]
    # Number n is done after n + 2 minutes; the first for which that is not clearly sooner goes.
    gone = math.floor(660 / CLEARLY / 60) - 1
    assert [n for n in range(10) if found[n]["waits"] is None] == [gone]
    assert await stage.where(f"b{gone}") == [("core-1", "running")]
    waits = [each["waits"] for each in found if each["waits"] is not None]
    assert [each["ahead"] for each in waits] == list(range(9))
    told = {each["name"]: each["value"] for each in waits[3]["estimate"]}
    assert told["wait"] == 4 * 60.0

    # Who comes after it would share the link with it, and had better wait all the same.
    told = {each["name"]: each["value"] for each in waits[-1]["instead_estimate"]}
    assert told["shared"] == 600 * MB
    assert told["transfer"] == pytest.approx(1200, abs=1)
    assert waits[-1]["instead_s"] == pytest.approx(1260, abs=1)

    # They go in the order in which they came.
    running = "first"
    for number in [n for n in range(10) if n != gone]:
        await stage.later(60)
        await ends(stage, cam, running)
        running = f"b{number}"
        assert await stage.where(running) == [("cam", "running")]


async def test_a_center_that_begins_anew_knows_what_passes_links(make_stage: MakeStage) -> None:
    stage, _ = await edge_and_core(make_stage)
    await stage.put("moving", **over(100 * MB), where="core")
    await stage.step()
    await stage.later(40)
    await stage.restart()
    await stage.put("second", **over(600 * MB), where="core")
    await stage.step()
    figures = (await stage.explained("second"))["estimate"]
    (shared,) = [each for each in figures if each["name"] == "shared"]
    # 100 s for 100 MB, of which 40 have passed.
    assert shared["value"] == pytest.approx(60 * MB, rel=0.01)
    await stage.later(70)
    await stage.put("third", **over(MB), where="core")
    await stage.step()
    (shared,) = [
        each for each in (await stage.explained("third"))["estimate"] if each["name"] == "shared"
    ]
    assert shared["value"] == MB, "of the second no more passes than of its own"


async def test_a_higher_priority_goes_before_who_waits_longer(make_stage: MakeStage) -> None:
    stage, cam = await edge_and_core(make_stage)
    await stage.put("low", **over(600 * MB))
    await stage.step()
    await stage.put("high", **over(600 * MB, priority=55))
    await stage.step()
    assert (await stage.explained("high"))["waits"]["ahead"] == 0
    await ends(stage, cam, "first")
    assert await stage.where("high") == [("cam", "running")]
    assert await stage.where("low") == [(None, "pending")]


async def test_a_center_that_begins_anew_knows_who_waits_and_since_when(
    make_stage: MakeStage,
) -> None:
    stage, cam = await edge_and_core(make_stage)
    await stage.put("second", **over(600 * MB))
    await stage.step()
    before = (await stage.explained("second"))["waits"]
    await stage.later(30)
    await stage.restart()
    await stage.step()
    assert await stage.where("second") == [(None, "pending")]
    assert (await stage.explained("second"))["waits"] == before
    await ends(stage, cam, "first")
    assert await stage.where("second") == [("cam", "running")]


async def test_where_nothing_has_room_it_says_what_will(make_stage: MakeStage) -> None:
    stage, cam = await edge_and_core(make_stage, core=False)
    await stage.put("second", **over(600 * MB))
    await stage.step()
    why = await stage.explained("second")
    assert why["decision"] == "pending"
    assert why["reason"].startswith("none of 1 nodes: cpu refuses 1; cam should have room at about")
    assert why["waits"]["instead"] is None
    await ends(stage, cam, "first")
    assert await stage.where("second") == [("cam", "running")]


async def test_work_begun_anew_waits_from_then_on(make_stage: MakeStage) -> None:
    stage, _ = await edge_and_core(make_stage, first_s=300.0)
    await stage.put("second", **over(600 * MB))
    await stage.step()
    before = (await stage.explained("second"))["waits"]
    await stage.later(20)
    await stage.room.service.restart("second", "ada")
    await stage.step()
    after = (await stage.explained("second"))["waits"]
    assert after["since"] > before["since"]


async def test_a_task_that_is_deleted_waits_no_more(make_stage: MakeStage) -> None:
    stage, _ = await edge_and_core(make_stage)
    for name in ("second", "third"):
        await stage.put(name, **over(600 * MB))
        await stage.step()
    assert (await stage.explained("third"))["waits"]["ahead"] == 1
    await stage.room.service.delete("second", "ada")
    await stage.step()
    await stage.room.service.restart("third", "ada")
    await stage.step()
    assert (await stage.explained("third"))["waits"]["ahead"] == 0


async def test_a_wait_for_want_of_room_does_not_count_against_one_that_is_chosen(
    make_stage: MakeStage,
) -> None:
    stage, _ = await edge_and_core(make_stage, core=False, first_s=2_000.0)
    await stage.put("second", **over(600 * MB))
    await stage.step()
    await stage.later(1_700)
    assert (await stage.explained("second"))["waits"]["instead"] is None
    await stage.node("core-1", cores=64, group="core")
    await stage.later(0)
    why = await stage.explained("second")
    assert (why["decision"], why["waits"]["instead"]) == ("waiting", "core-1")
    assert why["waits"]["instead_s"] < 700, "less than it has waited already"


async def test_who_has_others_pushed_out_does_not_wait_for_an_end(make_stage: MakeStage) -> None:
    stage, cam = await edge_and_core(make_stage, core=False)
    cam.slow = True
    await stage.put("high", **over(600 * MB, priority=90))
    await stage.step()
    why = await stage.explained("high")
    assert "must give way on cam first" in why["reason"]
    assert why["waits"] is None
    # Nobody knows how long who comes there will stay.
    await stage.put("second", **over(600 * MB))
    await stage.step()
    assert (await stage.explained("second"))["waits"] is None


async def test_an_instance_does_not_share_a_link_with_itself(make_stage: MakeStage) -> None:
    """It is begun anew while what it moved before counts as under way."""
    stage, _ = await edge_and_core(make_stage)
    await stage.put("moving", **over(100 * MB), where="core")
    await stage.step()
    before = (await stage.explained("moving"))["estimate"]
    stage.nodes["core-1"].slow = True
    stage.away("core-1")
    await stage.node("core-2", cores=64, group="core")
    await stage.later(40, "cam", "core-2")
    assert await stage.where("moving") == [("core-2", "running")]
    after = (await stage.explained("moving"))["estimate"]
    assert after == before, "nothing is shared"
