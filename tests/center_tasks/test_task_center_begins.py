"""A center that begins, and what is asked of it before it has read everything."""

from collections.abc import Awaitable, Callable

import pytest
from center_tasks.moving_stage import Stage

MakeStage = Callable[..., Awaitable[Stage]]


async def test_who_asks_before_the_registry_is_read_takes_no_node_from_the_pool(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = await make_stage()
    await stage.node("n1", cores=2)
    await stage.put("web")
    await stage.step()
    stage.make_room()
    with monkeypatch.context() as patched:
        patched.setattr(stage.registry, "all", list)
        await stage.room.snapshot()
    await stage.room.start()
    assert await stage.where("web") == [("n1", "running")]
    assert {node.node for node in (await stage.room.snapshot()).nodes} == {"n1"}
