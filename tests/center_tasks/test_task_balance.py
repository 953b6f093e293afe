"""Rebalancing moves what is clearly better off elsewhere, seldom, and never for small gains."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from center_tasks.moving_stage import Stage

MakeStage = Callable[..., Awaitable[Stage]]

ON: dict[str, Any] = {"rebalance": True, "rebalance_every_s": 60.0, "rebalance_rest_s": 600.0}
ONE = {"cpu_cores": 1.0}


async def uneven(stage: Stage, count: int = 4, **spec: Any) -> None:
    """Many on one node, and then an empty one that is as large."""
    await stage.node("n1", cores=8)
    await stage.put("web", policy="spread", requests=ONE, count=count, **spec)
    await stage.step()
    await stage.node("n2", cores=8)
    await stage.step()


async def nodes_of(stage: Stage, name: str) -> list[str]:
    return sorted(str(node) for node, _ in await stage.where(name))


async def test_it_moves_until_no_move_is_worth_it_and_says_why(make_stage: MakeStage) -> None:
    stage = await make_stage(**ON)
    await uneven(stage)
    assert await nodes_of(stage, "web") == ["n1"] * 4
    for _ in range(12):
        await stage.later(60)
    settled = await nodes_of(stage, "web")
    assert set(settled) == {"n1", "n2"}
    moves = [line for line in await stage.lines("web") if line[0] == "rebalanced"]
    assert len(moves) == stage.room.stats()["rebalanced"] == settled.count("n2")
    assert all("it is better off on n2: its score is higher by" in str(line[2]) for line in moves)
    at_n2 = next(each["instance"] for each in await stage.instances("web") if each["node"] == "n2")
    why = await stage.explained("web", at_n2)
    assert why["decision"] == "placed"
    assert (why["gave_way"]["from"], why["gave_way"]["to"]) == ("n1", "n2")
    assert why["gave_way"]["gain"] >= 0.1
    for _ in range(30):
        await stage.later(60)
    assert await nodes_of(stage, "web") == settled


async def test_it_is_off_by_default(make_stage: MakeStage) -> None:
    stage = await make_stage()
    await uneven(stage)
    for _ in range(12):
        await stage.later(60)
    assert await nodes_of(stage, "web") == ["n1"] * 4


async def test_nothing_moves_for_a_small_gain(make_stage: MakeStage) -> None:
    stage = await make_stage(**ON, rebalance_gain=0.6)
    await uneven(stage)
    for _ in range(12):
        await stage.later(60)
    assert await nodes_of(stage, "web") == ["n1"] * 4


async def test_what_was_granted_lately_rests(make_stage: MakeStage) -> None:
    stage = await make_stage(**ON)
    await uneven(stage)
    for _ in range(9):
        await stage.later(60)
    assert await nodes_of(stage, "web") == ["n1"] * 4


async def test_a_batch_is_never_moved(make_stage: MakeStage) -> None:
    stage = await make_stage(**ON)
    await uneven(stage, kind="batch")
    for _ in range(15):
        await stage.later(60)
    assert await nodes_of(stage, "web") == ["n1"] * 4


@pytest.mark.parametrize("moves", [1, 2])
async def test_only_so_many_move_at_once(make_stage: MakeStage, moves: int) -> None:
    stage = await make_stage(**ON, rebalance_moves=moves)
    node = await stage.node("n1", cores=8)
    for number in range(4):
        await stage.put(f"web{number}", policy="spread", requests=ONE)
    await stage.step()
    await stage.node("n2", cores=8)
    node.slow = True  # none of the moves is ever over
    for _ in range(20):
        await stage.later(60)
    assert node.document is not None
    assert [grant.reason for grant in node.document.grants if grant.want == "stop"] == [
        "moved"
    ] * moves


async def test_a_move_on_a_lease_ends_before_it_begins(make_stage: MakeStage) -> None:
    stage = await make_stage(**ON)
    node = await stage.node("n1", cores=8)
    for name in ("web", "other", "third"):
        contract = {"on_disconnect": "stop", "lost_after_s": 10.0}
        await stage.put(name, policy="spread", requests=ONE, disconnect=contract)
    await stage.step()
    await stage.node("n2", cores=8)
    node.slow = True
    for _ in range(15):
        await stage.leases(node)
        await stage.later(60)
    other = stage.nodes["n2"]
    assert not other.holds  # nothing began there while the first may still run
    assert node.document is not None
    ending = [grant for grant in node.document.grants if grant.want == "stop"]
    assert ending
    node.slow = False
    await stage.say("n1", *(node.say(grant, "stopped") for grant in ending))
    await stage.step()
    assert len(other.holds) == len(ending)
