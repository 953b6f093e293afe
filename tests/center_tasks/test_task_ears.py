"""What nodes cost that are heard: nothing of theirs is loaded; and still their silence is noticed in time."""

from collections.abc import Sequence
from typing import Any

import pytest
from center_tasks.conftest import MakeStage
from center_tasks.moving_stage import Stage
from farshore_center.tasks import rounds
from farshore_center.tasks.records import Key
from sqlalchemy import Connection

BEAT_S = 30.0
"""The heartbeat of a node that has said nothing of it."""


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Key]:
    """The instances that were loaded, each time that they were."""
    found: list[Key] = []
    load = rounds.load

    def noting(conn: Connection, keys: Sequence[Key]) -> Any:
        found.extend(keys)
        return load(conn, keys)

    monkeypatch.setattr(rounds, "load", noting)
    return found


async def at_rest(make_stage: MakeStage) -> Stage:
    """Ten services on three nodes, and nothing that is due."""
    stage = await make_stage()
    for name in ("n1", "n2", "n3"):
        await stage.node(name)
    await stage.put("web", count=10, requests={"cpu_cores": 0.1}, disconnect={"lost_after_s": 1.0})
    await stage.step()
    for _ in range(10):
        await stage.later(BEAT_S)
    return stage


async def test_heartbeats_alone_load_nothing(make_stage: MakeStage, loaded: list[Key]) -> None:
    stage = await at_rest(make_stage)
    loaded.clear()
    for _ in range(30):
        await stage.later(BEAT_S)
    assert loaded == []


async def test_only_what_runs_at_a_silent_node_is_loaded_and_it_is_lost_in_time(
    make_stage: MakeStage, loaded: list[Key]
) -> None:
    stage = await at_rest(make_stage)
    there = [("web", n) for n, (node, _) in enumerate(await stage.where("web")) if node == "n1"]
    assert there
    loaded.clear()
    heard_s = stage.clock.now_s
    while stage.clock.now_s < heard_s + 3 * BEAT_S - 1:
        await stage.later(1.0, "n2", "n3")
    assert loaded == []
    await stage.later(1.5, "n2", "n3")
    assert {*loaded} == {*there}
    assert "n1" not in {node for node, _ in await stage.where("web")}
    assert [state for _, state in await stage.where("web")] == ["running"] * 10


@pytest.mark.parametrize("again", [False, True], ids=["the same center", "a center that begins"])
async def test_what_a_broker_says_of_a_silent_node_does_not_end_its_silence(
    make_stage: MakeStage, again: bool
) -> None:
    """It says "online" to a center that connects, until it notices that the connection is dead."""
    stage = await make_stage()
    await stage.node("n1", group="site")
    await stage.node("n2", group="site", cores=1)
    contract = {"on_disconnect": "stop", "lost_after_s": 12.0}
    await stage.put("web", requests={"cpu_cores": 2.0}, disconnect=contract)
    await stage.step()
    await stage.node("far")
    for _ in range(12):
        await stage.later(BEAT_S, "far")
    assert await stage.where("web") == [("n1", "lost")]
    for name in ("n1", "n2"):
        stage.away(name)
    if again:
        stage.make_room()
        await stage.room.start()
        stage.room.stood("far", True, False)
    for _ in range(12):
        for name in ("n1", "n2"):
            stage.shown(name)
        await stage.later(1.0, "far")
    assert await stage.where("web") == [("n1", "lost")]
    stage.beat("n1")
    await stage.step()
    assert [state for _, state in await stage.where("web")] == ["running"]
