"""Secret commands: shown to nobody, and erased when they are over, whatever dies in between."""

from typing import Any

import orjson
import pytest
from center_commands.stage import Output, Stage, report
from farshore_center.api.problems import Problem
from farshore_center.commands.model import commands, outputs, targets
from farshore_center.events import EventFilter
from sqlalchemy import select

KEPT_S = 600.0
WORD = "hush-hush"
ARGS = {"argv": ["cat"], "stdin": WORD}


async def everything(stage: Stage) -> str:
    """All that the tables of commands and the log of events hold."""

    def read(conn: Any) -> str:
        rows = [conn.execute(select(table)).all() for table in (commands, targets, outputs)]
        return str(rows)

    page = await stage.events.page(EventFilter(), 0, 10_000)
    return await stage.database.read(read) + "".join(event.data for event in page.items)


async def answer(stage: Stage, command: str, node: str, state: str = "succeeded") -> None:
    chunk = Output(offset=0, stream="stdout", text=WORD)
    done = report(command, state, verb="exec", output=(chunk,), result={"said": WORD})
    await stage.report((node, done))


async def erase(stage: Stage) -> int:
    return await stage.service._eraser.look()


async def test_it_is_sent_as_it_is_and_shown_to_nobody(stage: Stage) -> None:
    stage.online = {"pi-1"}
    async with stage.running():
        view = await stage.create("pi-1", verb="exec", args=ARGS, secret=True)
        await stage.downlink.until_sent(1)
    assert stage.downlink.sent[0][2].args == ARGS
    assert stage.downlink.sent[0][2].secret, "the node is told that it must not keep it"
    await answer(stage, view.id, "pi-1")
    document = (await stage.service.get(view.id)).document()
    assert (document["args"], document["secret"], document["erased"]) == ({}, True, False)
    assert document["targets"][0]["output"][0].text == WORD, "who gave it can read the answer"
    listed = (await stage.service.list()).items[0].document()
    assert listed["args"] == {}
    page = await stage.events.page(EventFilter(command=view.id), 0, 100)
    assert WORD not in "".join(event.data for event in page.items)
    last = orjson.loads(page.items[-1].data)
    assert (last["secret"], last["output_left_out"]) == (True, 1)


async def test_arguments_go_when_no_node_needs_them_the_rest_when_it_could_be_read(
    stage: Stage,
) -> None:
    stage.online = {"pi-1"}
    async with stage.running():
        view = await stage.create("pi-1", "pi-2", verb="exec", args=ARGS, secret=True, ttl_s=60)
        await stage.downlink.until_sent(1)
        await answer(stage, view.id, "pi-1")
        assert await erase(stage) == 1
        stage.online = {"pi-1", "pi-2"}
        stage.service.node_arrived("pi-2")
        await stage.downlink.until_sent(2)
        assert stage.downlink.sent[1][2].args == ARGS, "pi-2 had not had it yet"
    await answer(stage, view.id, "pi-2")
    assert await erase(stage) == 1
    found = await stage.database.read(lambda conn: conn.execute(select(commands.c.args)).scalar())
    assert found == "{}"
    assert WORD in await everything(stage)
    stage.clock.advance(KEPT_S + 1)
    assert await erase(stage) == 0
    assert WORD not in await everything(stage)
    document = (await stage.service.get(view.id)).document()
    assert document["erased"]
    assert [t["state"] for t in document["targets"]] == ["succeeded", "succeeded"]
    assert [t["result"] for t in document["targets"]] == [None, None]


async def test_what_a_node_says_late_is_not_kept(stage: Stage) -> None:
    view = await stage.create("pi-1", verb="exec", args=ARGS, secret=True, ttl_s=1)
    async with stage.running():
        stage.advance(2)
        await stage.until_state(view.id, "expired")
    stage.clock.advance(KEPT_S + 61)
    assert await erase(stage) == 0
    await answer(stage, view.id, "pi-1")
    assert (await stage.target(view.id, "pi-1")).state == "succeeded"
    assert WORD not in await everything(stage)


async def test_a_node_that_never_ends_keeps_nothing_alive(stage: Stage) -> None:
    stage.online = {"pi-1"}
    async with stage.running():
        view = await stage.create("pi-1", verb="exec", args=ARGS, secret=True, timeout_s=100)
        await stage.downlink.until_sent(1)
    await answer(stage, view.id, "pi-1", "running")
    stage.clock.advance(KEPT_S + 100)
    assert await erase(stage) == 1
    stage.clock.advance(61)
    assert await erase(stage) == 0
    assert WORD not in await everything(stage)


async def test_a_center_that_was_dead_erases_at_its_start(stage: Stage) -> None:
    stage.online = {"pi-1"}
    async with stage.running():
        view = await stage.create("pi-1", verb="exec", args=ARGS, secret=True)
        await stage.downlink.until_sent(1)
    await answer(stage, view.id, "pi-1")
    stage.clock.advance(KEPT_S + 1)
    stage.restart()
    async with stage.running():
        await stage.until_idle()
        while not (await stage.service.get(view.id)).erased:
            await stage.until_idle()
    assert WORD not in await everything(stage)


async def test_commands_that_are_no_secret_stay(stage: Stage) -> None:
    stage.online = {"pi-1"}
    async with stage.running():
        view = await stage.create("pi-1", verb="exec", args=ARGS)
        await stage.downlink.until_sent(1)
    assert not stage.downlink.sent[0][2].secret
    await answer(stage, view.id, "pi-1")
    stage.clock.advance(10 * KEPT_S)
    assert await erase(stage) == 0
    document = (await stage.service.get(view.id)).document()
    assert orjson.loads(orjson.dumps(document["args"])) == ARGS
    assert document["targets"][0]["output"][0].text == WORD


async def test_a_repeated_request_finds_it_and_another_question_is_refused(stage: Stage) -> None:
    view = await stage.create("pi-1", key="k1", verb="exec", args=ARGS, secret=True)
    again = await stage.create("pi-1", key="k1", verb="exec", args=ARGS, secret=True)
    assert (again.id, again.repeated) == (view.id, True)
    with pytest.raises(Problem, match="used for another request"):
        await stage.create("pi-1", key="k1", verb="exec", args=ARGS)
