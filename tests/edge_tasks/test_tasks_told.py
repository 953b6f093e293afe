"""What a center is told of the tasks that are here when it may know less than the one before it."""

from typing import Any

import orjson
import pytest
from edge.edge_bench import eventually
from edge_tasks.task_bench import FakeDriver, World, grant
from farshore_edge.tasks.lease_files import MemoryLeases
from farshore_edge.tasks.parts import TaskParts
from farshore_protocol.link import Message
from farshore_protocol.messages import UNKNOWN_NODE

ONLINE = ("fs1/center", {"state": "online", "epoch": "another"})
"""Another center came to the broker."""
KNOWS_NOTHING = (
    "fs1/down/n1/error",
    {"topic": "x", "reason": UNKNOWN_NODE, "detail": "who?", "at": 1},
)
"""It does not know this node."""


def newest(world: World) -> dict[str, Any]:
    """Older ones are sent again meanwhile: nobody acknowledges them."""
    return max(world.words("rep/tasks"), key=lambda word: int(word["seq"]))


@pytest.mark.parametrize("said", [ONLINE, KNOWS_NOTHING], ids=["another came", "it knows nothing"])
async def test_a_center_that_may_know_less_hears_what_is_here(
    said: tuple[str, dict[str, Any]],
) -> None:
    """What the one before it acknowledged is not kept here any more."""
    world = World(TaskParts(drivers=(FakeDriver(),), leases=MemoryLeases()))
    await world.up()
    world.give(1, grant())

    await world.comes("running")
    world.give(2, grant())  # when that is told nothing more is due
    await eventually(lambda: any(word["rev"] == 2 for word in world.words("rep/tasks")))
    before = newest(world)["seq"]
    topic, word = said
    world.bus.publish(Message(topic=topic, payload=orjson.dumps(word), qos=1))
    await eventually(lambda: len(world.words("birth")) == 2)
    await eventually(lambda: newest(world)["seq"] > before)
    assert [each["state"] for each in newest(world)["held"]] == ["running"]
    await world.stop()
