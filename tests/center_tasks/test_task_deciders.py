"""Two centers that decide at once on one database: one loses and looks again; never two current grants."""

import asyncio
import threading

import pytest
from center_tasks.databases import WITHIN_S, Databases, Late, MakeStage, RealStage
from center_tasks.databases import databases as databases
from center_tasks.databases import make as make
from center_tasks.databases import server as server
from farshore_center.db.database import Database
from farshore_center.tasks.reports import Recorder
from sqlalchemy import RowMapping

pytestmark = pytest.mark.processes


async def two(databases: Databases, make: MakeStage) -> tuple[RealStage, RealStage, Late]:
    """Both have the same nodes; the second one writes when it may."""
    url = databases.new("two")
    first = await make(Database(url))
    late = Late(url, None if databases.server else first.database)
    second = await make(late)
    for stage in (first, second):
        for name in ("n1", "n2", "n3"):
            await stage.node(name, cores=8)
    return first, second, late


def current(rows: list[RowMapping]) -> list[int]:
    """The instances of what is wanted to run and has not ended, one for each grant."""
    ended = ("stopped", "withdrawn", "failed", "succeeded", "rejected")
    return [row["instance"] for row in rows if row["want"] == "run" and row["state"] not in ended]


async def test_of_two_that_decide_at_once_one_loses_and_looks_again(
    databases: Databases, make: MakeStage
) -> None:
    first, second, late = await two(databases, make)
    await first.put("web", count=3)
    second.room.runner.look_now([("web", number) for number in range(3)])
    late.may.clear()
    late.asked.clear()
    deciding = asyncio.create_task(second.room.runner.round())
    await asyncio.wait_for(late.asked.wait(), WITHIN_S)
    await first.step()
    placed = await first.where("web")
    assert [state for _, state in placed] == ["running"] * 3
    late.may.set()
    await asyncio.wait_for(deciding, WITHIN_S)
    assert second.room.stats()["outrun"] == 3
    assert current(await first.grants("web")) == [0, 1, 2]
    assert len(await first.grants("web")) == 3, "what has lost left nothing behind"
    # It has looked again: what it believes to run where is what runs where.
    snapshots = [await stage.room.snapshot() for stage in (first, second)]
    held = [{each.id: each.node for each in snapshot.work} for snapshot in snapshots]
    assert held[0] == held[1] == {f"web/{n}": node for n, (node, _) in enumerate(placed)}


async def test_two_that_decide_all_the_time_never_have_two_current_grants(
    databases: Databases, make: MakeStage
) -> None:
    first, second, _ = await two(databases, make)
    names = [f"t{number}" for number in range(6)]
    for name in names:
        await first.put(name, count=4, requests={"cpu_cores": 0.1})
        second.room.runner.look_now([(name, number) for number in range(4)])
        first.clock.now_s += 1.0
        second.clock.now_s = first.clock.now_s + 0.007  # so that its grants are others
        await asyncio.gather(first.room.runner.round(), second.room.runner.round())
    for name in names:
        assert current(await first.grants(name)) == [0, 1, 2, 3], name


async def test_a_word_of_a_node_that_comes_while_it_is_decided_is_not_written_over(
    databases: Databases, make: MakeStage
) -> None:
    first, second, late = await two(databases, make)
    await first.put("web")
    await first.step()
    await first.step()
    node = await first.node_of("web")
    old = first.grant(node, "web")
    await first.room.service.restart("web", "ada")
    second.room.runner.look_now([("web", 0)])
    late.may.clear()
    late.asked.clear()
    deciding = asyncio.create_task(second.room.runner.round())
    await asyncio.wait_for(late.asked.wait(), WITHIN_S)
    await first.say_all((node, first.at(node).say(old, "stopped")))
    late.may.set()
    await asyncio.wait_for(deciding, WITHIN_S)
    assert second.room.stats()["outrun"] == 1
    states = {row["epoch"]: row["state"] for row in await first.grants("web")}
    assert states[old.epoch] == "stopped"


async def test_a_result_that_comes_while_another_center_decides_is_not_lost(
    databases: Databases, make: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has read what it records on, when the other one writes."""
    first, second, late = await two(databases, make)
    await first.put("job", kind="batch")
    await first.step()
    await first.step()
    name = await first.node_of("job")
    grant, node = first.grant(name, "job"), first.at(name)
    await first.room.service.stop("job", "ada")
    second.room.runner.look_now([("job", 0)])
    late.may.clear()
    late.asked.clear()
    deciding = asyncio.create_task(second.room.runner.round())
    await asyncio.wait_for(late.asked.wait(), WITHIN_S)

    read, save = threading.Event(), threading.Event()
    saved = Recorder._save

    def held_back(recorder: Recorder) -> None:
        read.set()
        assert save.wait(WITHIN_S)
        saved(recorder)

    monkeypatch.setattr(Recorder, "_save", held_back)
    recording = asyncio.create_task(first.say_all((name, node.succeeds(grant, {"found": 7}))))
    assert await asyncio.to_thread(read.wait, WITHIN_S)
    late.may.set()
    # It is done at once, or waits for the first one; there is nothing to be seen of that from here.
    await asyncio.wait([deciding], timeout=1.0)
    save.set()
    await asyncio.wait_for(asyncio.gather(deciding, recording), WITHIN_S)
    (instance,) = await first.instances("job")
    assert instance["result"] == {"found": 7}
    assert {row["epoch"]: row["state"] for row in await first.grants("job")}[grant.epoch] == (
        "succeeded"
    )
