"""A node that took a command and never speaks again does not keep it open for ever."""

import orjson
from center_commands.stage import Stage, report
from farshore_center.commands.engine import VANISHED

DAY_S = 86_400


async def running_at(stage: Stage, *nodes: str) -> str:
    """The id of a command that these nodes have, of which none has told an end."""
    stage.online = set(nodes)
    async with stage.running():
        view = await stage.create(*nodes, verb="exec", args={"argv": ["true"]}, timeout_s=600)
        await stage.downlink.until_sent(len(nodes))
        await stage.report(*((node, report(view.id, "running")) for node in nodes))
    return view.id


async def test_who_is_offline_and_silent_for_a_day_beyond_its_time_is_given_up(
    stage: Stage,
) -> None:
    command_id = await running_at(stage, "pi-17", "pi-18")
    stage.online = {"pi-18"}
    stage.clock.advance(60 + 600 + DAY_S - 1)
    await stage.service.vanished.look()
    assert (await stage.target(command_id, "pi-17")).state == "running", "not before its time"
    stage.clock.advance(1)
    await stage.service.vanished.look()
    gone = await stage.target(command_id, "pi-17")
    assert (gone.state, gone.reason) == ("interrupted", VANISHED)
    assert (await stage.target(command_id, "pi-18")).state == "running", "it is there to say so"
    assert stage.service.stats()["vanished"] == 1
    last = (await stage.events.list(kind="command.target"))[-1]
    assert (last.kind, last.node, orjson.loads(last.data)["state"]) == (
        "command.target",
        "pi-17",
        "interrupted",
    )


async def test_the_word_of_a_node_that_comes_back_counts(stage: Stage) -> None:
    command_id = await running_at(stage, "pi-17")
    stage.online = set()
    stage.clock.advance(2 * DAY_S)
    await stage.service.vanished.look()
    await stage.report(("pi-17", report(command_id, "succeeded", seq=2)))
    back = await stage.target(command_id, "pi-17")
    assert (back.state, back.reason) == ("succeeded", None)


async def test_a_look_that_finds_nothing_writes_nothing(stage: Stage) -> None:
    await running_at(stage, "pi-17")
    stage.online = set()
    before = stage.database.stats().transactions
    await stage.service.vanished.look()
    assert stage.database.stats().transactions == before
