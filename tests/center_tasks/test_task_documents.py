"""What stands in a node's document: what has ended does for a while, so that its logs stay."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

from center_tasks.moving_stage import Node, Stage
from farshore_center.tasks import store

MakeStage = Callable[..., Awaitable[Stage]]


def shown(node: Node) -> list[tuple[str, int, str]]:
    assert node.document is not None
    return [(each.task, each.instance, each.want) for each in node.document.grants]


async def end(stage: Stage, node: Node, name: str, state: str = "succeeded") -> None:
    assert node.document is not None
    (grant,) = [each for each in node.document.grants if (each.task, each.want) == (name, "run")]
    await stage.say(node.name, node.say(grant, state, exit_code=0))
    await stage.step()


async def test_what_has_ended_stays_for_a_while_and_is_never_begun_again(
    make_stage: MakeStage,
) -> None:
    stage = await make_stage()
    node = await stage.node("n1")
    await stage.put("report", kind="batch")
    await stage.step()
    rev = node.rev
    await end(stage, node, "report")
    assert node.rev == rev  # nobody has to be told of what the node has said itself
    await stage.put("web")
    await stage.step()
    assert shown(node) == [("web", 0, "run"), ("report", 0, "stop")]

    # A node that has lost all that it knew does not run it again.
    node.holds.clear()
    node.rev = 0
    stage.room.arrived("n1", 0)
    await stage.step()
    assert [each.state for each in node.holds.values() if each.task == "report"] == ["stopped"]
    assert await stage.where("report") == [("n1", "done")]

    await stage.later(901)
    assert shown(node) == [("web", 0, "run")]


async def test_the_newest_ends_stay(make_stage: MakeStage) -> None:
    stage = await make_stage(keep_ended=2)
    node = await stage.node("n1")
    for number in range(4):
        await stage.put(f"b{number}", kind="batch")
        await stage.step()
        await end(stage, node, f"b{number}")
        await stage.later(1)
    await stage.put("web")
    await stage.step()
    assert shown(node) == [("web", 0, "run"), ("b3", 0, "stop"), ("b2", 0, "stop")]


async def test_a_task_that_is_deleted_leaves_at_once(make_stage: MakeStage) -> None:
    stage = await make_stage()
    node = await stage.node("n1")
    await stage.put("report", kind="batch")
    await stage.put("web")
    await stage.step()
    await end(stage, node, "report")
    await stage.room.service.delete("report", "ada")
    await stage.step()
    await stage.room.service.restart("web", "ada")
    await stage.step()
    assert {task for task, _, _ in shown(node)} == {"web"}


async def test_what_has_ended_gives_way_to_what_runs(make_stage: MakeStage) -> None:
    stage = await make_stage()
    node = await stage.node("n1", cores=64)
    rng = Random(3)
    for number in range(8):
        noise = rng.randbytes(14_000).hex()
        await stage.put(f"b{number}", kind="batch", run={"argv": ["/bin/x", noise]})
        await stage.step()
        await end(stage, node, f"b{number}")
        await stage.later(1)
    await stage.put("web")
    await stage.step()
    assert shown(node)[0] == ("web", 0, "run")
    assert 2 <= len(shown(node)) < 9


async def test_a_node_that_is_deleted_leaves_nothing_behind(make_stage: MakeStage) -> None:
    stage = await make_stage()
    await stage.node("n1")
    await stage.put("web")
    await stage.step()
    await stage.room.drains.drain("n1", None, "old", "ada")
    await stage.node("n2", cores=0)
    await stage.step()
    assert await stage.where("web") == [("n1", "running")]
    stage.away("n1")
    stage.registry.remove("n1")
    await stage.database.write(lambda conn: stage.room.forget(conn, "n1"))
    stage.room.forgotten("n1")
    await stage.node("n3")
    await stage.step()
    assert await stage.where("web") == [("n3", "running")]
    assert ("withdrawn", "n1", "its node is not part of the fleet any more") in (
        await stage.lines("web")
    )
    rows = await stage.database.read(store.all_nodes)
    assert "n1" not in rows
    assert not stage.room.is_drained("n1")


async def test_of_two_centers_that_decide_at_once_one_looks_again(
    make_stage: MakeStage, tmp_path: Path
) -> None:
    stage = await make_stage()
    await stage.node("n1", cores=8)
    await stage.node("n2", cores=8)
    other = Stage(tmp_path)
    other.database, other.registry = stage.database, stage.registry
    other.make_room()
    await other.room.start()
    for node in stage.nodes:
        other.room.stood(node, True, False)
    for number in range(10):
        await stage.put(f"t{number}")
        other.room.runner.look_now([(f"t{number}", 0)])
        await asyncio.gather(stage.room.runner.round(), other.room.runner.round())
    outrun = stage.room.stats()["outrun"] + other.room.stats()["outrun"]
    placed = stage.room.stats()["placed"] + other.room.stats()["placed"]
    live = await stage.database.read(store.all_live_grants)
    assert (placed, len(live), len({grant.of for grant in live})) == (10, 10, 10)
    assert outrun >= 1
