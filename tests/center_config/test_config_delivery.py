"""Delivery and recomputing on a real database: who is sent what, when, and after which crash."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from center_config.stage import Overlay, Stage
from farshore_center.api.problems import Problem
from farshore_center.config.layer_store import has_layer, rename_group
from farshore_center.db.database import Database
from farshore_protocol.codec import MAX_MESSAGE_BYTES
from farshore_protocol.config.digest import digest
from sqlalchemy import Connection


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    database = Database(f"sqlite:///{tmp_path}/center.db")
    await database.start()
    stage = Stage(database)
    await stage.step()
    yield stage
    await database.stop()


FIRST = {"agent": {"batch_s": 5}}
SECOND = {"agent": {"batch_s": 6}}


async def test_without_an_answer_it_is_sent_again_with_growing_pauses(stage: Stage) -> None:
    stage.add("a")
    await stage.put("defaults", FIRST)
    assert await stage.step() == [("a", 1)]
    assert await stage.step(29.9) == []
    assert await stage.step(0.1) == [("a", 1)]
    assert await stage.step(59.9) == []
    assert await stage.step(0.1) == [("a", 1)]
    await stage.report("a", 1, digest(FIRST))
    assert await stage.step(10_000) == []
    assert stage.room.stats()["waiting"] == 0


async def test_a_newer_one_takes_the_place_of_what_was_not_answered(stage: Stage) -> None:
    stage.add("a")
    await stage.put("defaults", FIRST)
    await stage.step()
    await stage.put("defaults", SECOND)
    assert await stage.step() == [("a", 2)]
    await stage.report("a", 1, digest(FIRST))
    assert (await stage.config("a"))["state"] == "pending"
    assert await stage.step(30) == [("a", 2)]


async def test_a_node_that_runs_another_digest_under_our_number_is_sent_it_at_once(
    stage: Stage,
) -> None:
    stage.add("a")
    await stage.put("defaults", FIRST)
    await stage.step()
    await stage.report("a", 1, digest(FIRST))
    await stage.report("a", 1, digest(SECOND))
    assert await stage.step() == [("a", 1)]
    # One that keeps to it is not argued with: the next time is at its pace.
    await stage.report("a", 1, digest(SECOND))
    assert await stage.step() == []
    assert await stage.step(60) == [("a", 1)]


async def test_a_downlink_that_fails_keeps_nobody_from_being_sent_again(stage: Stage) -> None:
    stage.add("a")
    await stage.put("defaults", FIRST)
    stage.failure = OSError("no way")
    assert await stage.step() == []
    stage.failure = None
    assert await stage.step(30) == [("a", 1)]


async def test_a_node_that_comes_back_without_a_birth_is_not_forgotten(stage: Stage) -> None:
    stage.add("a")
    stage.online.clear()
    await stage.put("defaults", FIRST)
    assert await stage.step() == []
    stage.online.add("a")  # its heartbeat was heard: the center had been away, not the node
    assert await stage.step(30) == [("a", 1)]


async def test_after_a_crash_what_was_decided_is_sent(stage: Stage) -> None:
    stage.add("a", "b")
    await stage.put("defaults", FIRST)
    # Killed between the commit and the sending: nothing but the database is left.
    stage.restart()
    stage.room.arrived("a", None, None)
    stage.room.arrived("b", 1, digest(FIRST))
    assert await stage.step() == [("a", 1)]
    # Its report was on its way; it is looked after all the same.
    assert await stage.step(30) == [("a", 1), ("b", 1)]


async def test_after_a_crash_of_the_center_between_move_and_recompute_the_start_makes_it_good(
    stage: Stage,
) -> None:
    stage.add("a")
    await stage.put("group:us", SECOND)
    await stage.put("group:eu", FIRST)
    await stage.step()
    stage.places["a"] = replace(stage.places["a"], group="us")
    stage.restart()
    assert await stage.step() == [("a", 2)]
    assert stage.sent[-1][1].config == SECOND


async def test_what_the_groups_room_says_is_looked_at_together(stage: Stage) -> None:
    stage.add(*(f"n{n}" for n in range(5)))
    await stage.put("defaults", FIRST)
    await stage.step()
    rounds = stage.room.stats()["rounds"]
    for n in range(5):
        stage.places[f"n{n}"] = replace(stage.places[f"n{n}"], labels={"env": "x"})
        stage.room.changed([f"n{n}"])
    assert await stage.step() == [(f"n{n}", 2) for n in range(5)]
    assert stage.room.stats()["rounds"] == rounds + 1
    stage.room.changed(None)
    assert await stage.step() == []


async def test_overlays_lie_above_groups_by_their_priority_and_below_the_node(stage: Stage) -> None:
    stage.add("a", "b")
    stage.groups.saved = [Overlay("high", "a", 20), Overlay("low", "a b", 10)]
    await stage.put("group:eu", {"agent": {"batch_s": 1, "heartbeat_s": 1, "log_level": "INFO"}})
    await stage.put("overlay:low", {"agent": {"batch_s": 2, "heartbeat_s": 2}})
    assert (await stage.put("overlay:high", {"agent": {"batch_s": 3}})).nodes == 1
    await stage.put("node:b", {"agent": {"batch_s": 4}})
    explained = (await stage.room.explain("a")).document(explain=True)
    assert explained["origin"] == {
        "/agent/batch_s": "overlay:high@1",
        "/agent/heartbeat_s": "overlay:low@1",
        "/agent/log_level": "group:eu@1",
    }
    explained = (await stage.room.explain("b")).document(explain=True)
    assert explained["origin"]["/agent/batch_s"] == "node:b@1"
    stage.groups.saved = [Overlay("low", "b", 10)]
    stage.room.changed(None)
    await stage.step()
    assert stage.sent[-1][0] == "a" or stage.sent[-2][0] == "a"
    assert (await stage.room.explain("a")).effective.config["agent"]["batch_s"] == 1


async def test_nobody_is_told_what_it_knows_itself(stage: Stage) -> None:
    stage.add("a")
    stage.room.arrived("a", None, None)
    assert await stage.step() == []
    assert (await stage.config("a"))["state"] == "none"
    # Put elsewhere by a person, it must know.
    stage.places["a"] = replace(stage.places["a"], group="us", given=True)
    stage.room.changed(["a"])
    assert await stage.step() == [("a", 1)]
    assert stage.sent[0][1].group == "us"
    assert stage.sent[0][1].config == {}


async def test_a_node_that_is_ahead_is_left_alone_until_a_person_resolves_it(stage: Stage) -> None:
    stage.add("a")
    await stage.put("defaults", FIRST)
    await stage.step()
    await stage.report("a", 8, digest(SECOND))
    assert (await stage.config("a"))["state"] == "ahead"
    assert await stage.step(10_000) == []
    await stage.put("defaults", {"agent": {"batch_s": 9}})
    assert await stage.step() == []
    assert (await stage.room.resolve("a")).rev == 9
    assert await stage.step() == [("a", 9)]
    await stage.report("a", 9, digest({"agent": {"batch_s": 9}}))
    assert (await stage.config("a"))["state"] == "applied"
    assert await stage.kinds("a") == ["config.ahead", "config.resolved", "config.applied"]


async def test_only_what_is_ahead_can_be_resolved(stage: Stage) -> None:
    stage.add("a")
    with pytest.raises(Problem, match="only one that is ahead"):
        await stage.room.resolve("a")


async def test_a_node_that_another_center_configured_is_ahead(stage: Stage) -> None:
    stage.add("a")
    await stage.report("a", 4, digest(FIRST))
    found = await stage.config("a")
    assert (found["state"], found["desired_rev"], found["reported_rev"]) == ("ahead", None, 4)
    assert (await stage.room.resolve("a")).rev == 5
    assert await stage.step() == [("a", 5)]
    assert stage.sent[0][1].config == {}


async def test_a_message_to_many_who_run_the_same_is_read_by_each(stage: Stage) -> None:
    text = "".join(str(n) for n in range(5_000))
    stage.add(*(f"n{n}" for n in range(20)), env="x" * 200)
    patch = {"files": {"/etc/motd": {"content": text}}}
    await stage.put("defaults", patch)
    assert len(await stage.step()) == 20
    assert all(desired.config == patch for _, desired in stage.sent)
    assert all(digest(desired.config) == desired.digest for _, desired in stage.sent)
    assert max(stage.bytes) < len(text) * 0.6


async def test_a_configuration_that_can_not_travel_is_refused(stage: Stage) -> None:
    stage.add("a")
    noise = "".join(digest(n).removeprefix("sha256:") for n in range(4_000))
    patch = {"lamp": {"noise": noise}}
    assert len(noise) < 512 * 1024
    with pytest.raises(Problem, match=f"{MAX_MESSAGE_BYTES - 24 * 1024} or fewer"):
        await stage.put("defaults", patch)
    assert await stage.step() == []


async def test_a_group_that_moves_takes_its_layers_along(stage: Stage) -> None:
    stage.add("a", group="eu/hamburg")
    await stage.put("group:eu", FIRST)
    await stage.put("group:eu/hamburg", {"agent": {"log_level": "INFO"}})
    await stage.put("group:europe", SECOND)
    await stage.put("group:europe", None)
    await stage.step()
    await stage.database.write(lambda conn: rename_group(conn, "eu", "europe"))
    stage.places["a"] = replace(stage.places["a"], group="europe/hamburg")
    stage.room.changed(None)
    assert await stage.step() == [("a", 3)]  # its group has another name
    explained = (await stage.room.explain("a")).document(explain=True)
    assert explained["origin"] == {
        "/agent/batch_s": "group:europe@1",
        "/agent/log_level": "group:europe/hamburg@1",
    }
    has = await stage.database.read(lambda conn: [has_layer(conn, p) for p in ("eu", "europe")])
    assert has == [False, True]


async def test_bodies_that_nobody_runs_are_dropped(stage: Stage) -> None:
    stage.add("a", "b")
    for patch in (FIRST, SECOND, FIRST):
        await stage.put("defaults", patch)
    await stage.put("node:b", SECOND)

    def count(conn: Connection) -> int | None:
        return conn.exec_driver_sql("SELECT count(*) FROM config_body").scalar()

    assert await stage.database.read(count) == 2
