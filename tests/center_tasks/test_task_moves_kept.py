"""A move of rebalancing that is under way when its center dies: it ends, and its task runs once."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from center_tasks.moving_stage import Stage
from farshore_protocol.tasks import Grant

MakeStage = Callable[..., Awaitable[Stage]]

ON: dict[str, Any] = {"rebalance": True, "rebalance_every_s": 60.0, "rebalance_rest_s": 600.0}
ONE = {"cpu_cores": 1.0}
ON_A_LEASE = {"disconnect": {"on_disconnect": "stop", "lost_after_s": 10.0}}


def at_work(stage: Stage, task: str) -> list[str]:
    """Nodes at which an instance of the task runs, one for each run."""
    return [
        node.name
        for node in stage.nodes.values()
        for held in node.holds.values()
        if held.task == task and held.state == "running"
    ]


async def moving(stage: Stage, **spec: Any) -> Grant:
    """One of two services on n1 is told to end there, for a better place on n2; it takes its time."""
    node = await stage.node("n1", cores=2)
    for name in ("web", "other"):
        await stage.put(name, policy="spread", requests=ONE, **spec)
    await stage.step()
    await stage.node("n2", cores=2)
    node.slow = True
    for _ in range(15):
        await stage.leases(node)
        await stage.later(60)
    assert node.document is not None
    [ending] = [grant for grant in node.document.grants if grant.want == "stop"]
    assert ending.reason == "moved"
    return ending


async def die(stage: Stage, cut: str, ending: Grant) -> None:
    """The center dies: when the node was told, had ended it, or had the next one granted beside it."""
    node = stage.nodes["n1"]
    if cut != "told":
        await stage.say("n1", node.say(ending, "stopped"))
    if cut == "granted":
        await stage.room.step()
        stage.sent.clear()
    await stage.restart()


@pytest.mark.parametrize("contract", [{}, ON_A_LEASE], ids=["keep", "lease"])
@pytest.mark.parametrize("cut", ["told", "ended", "granted"])
async def test_a_move_goes_on_after_the_center_and_runs_once(
    make_stage: MakeStage, cut: str, contract: dict[str, Any]
) -> None:
    stage = await make_stage(**ON)
    ending = await moving(stage, **contract)
    await die(stage, cut, ending)
    await stage.step()
    node = stage.nodes["n1"]
    if cut == "told":
        assert at_work(stage, ending.task) == ["n1"], "nothing begins before it has ended"
        await stage.say("n1", node.say(ending, "stopped"))
    node.slow = False
    for _ in range(3):
        await stage.later(15)
        assert len(at_work(stage, ending.task)) <= 1
    assert at_work(stage, ending.task) == ["n2"]
    assert await stage.where(ending.task) == [("n2", "running")]
    why = await stage.explained(ending.task)
    assert (why["gave_way"]["from"], why["gave_way"]["to"]) == ("n1", "n2")


async def test_a_place_that_was_kept_for_a_move_is_anybodys_after_the_center_and_nothing_is_lost(
    make_stage: MakeStage,
) -> None:
    stage = await make_stage(**ON)
    ending = await moving(stage)
    await stage.put("rival", requests={"cpu_cores": 2.0})
    await stage.step()
    assert at_work(stage, "rival") == [], "the place is kept"
    await die(stage, "told", ending)
    await stage.step()
    assert at_work(stage, "rival") == ["n2"]
    node = stage.nodes["n1"]
    node.slow = False
    await stage.say("n1", node.say(ending, "stopped"))
    for _ in range(3):
        await stage.later(15)
    assert at_work(stage, ending.task) == ["n1"], "it goes back to where it was"
