"""Nodes that are heard and do not do what they are given: deaf ones, liars, those whose document is full."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from center_tasks.moving_stage import Stage
from farshore_center.tasks.documents import Documents, packed_bytes, text_of
from farshore_center.tasks.resting import FIRST_S, MOST_S, TOLERATED, Resting
from farshore_protocol.codec import MAX_MESSAGE_BYTES
from farshore_protocol.tasks import LeaseRequest, TaskEvent, TaskSpec
from farshore_protocol.tasks.messages import MAX_TASKS_BYTES
from hypothesis import given
from hypothesis import strategies as st

MakeStage = Callable[..., Awaitable[Stage]]
FULL = {"cpu_cores": 2.0}


async def test_a_grant_that_an_online_node_never_answers_goes_elsewhere(
    make_stage: MakeStage,
) -> None:
    stage = await make_stage(answer_s=30.0)
    deaf = await stage.node("n1")
    deaf.deaf = True
    await stage.put("web", requests=FULL)
    await stage.step()
    await stage.node("n2")
    await stage.later(29)
    assert await stage.where("web") == [("n1", "granted")]
    await stage.later(2)
    assert await stage.where("web") == [("n2", "running")]
    lost = [line for line in await stage.lines("web") if line[0] == "lost"]
    assert lost == [
        ("lost", "n1", "its node is heard, and has said nothing of this grant within 30 s")
    ]
    # It rests: nothing new for a while, and explain says so.
    await stage.put("more", requests=FULL)
    await stage.step()
    why = {each["node"]: each["why"] for each in (await stage.explained("more"))["candidates"]}
    assert "it has not answered for what it was given; it is given nothing for 30 s" in why["n1"]
    deaf.deaf = False
    await stage.later(31)
    assert await stage.where("more") == [("n1", "running")]


async def with_rare_heartbeats(stage: Stage) -> None:
    """``n1`` is given what nobody else at its site has room for, and says nothing; ``far`` comes after."""
    for name, cores in (("n1", 2), ("n2", 1)):
        await stage.node(name, cores=cores, group="site")
        entry = stage.registry.get(name)
        assert entry is not None
        entry.standing = replace(entry.standing, heartbeat_s=60.0)
    stage.beat()
    stage.nodes["n1"].deaf = True
    await stage.put("web", requests=FULL, disconnect={"lost_after_s": 40.0})
    await stage.step()
    await stage.node("far")
    await stage.later(31, "far")
    assert await stage.where("web") == [("n1", "granted")]


async def test_a_site_that_is_cut_before_it_counts_as_silent_moves_nothing(
    make_stage: MakeStage,
) -> None:
    stage = await make_stage(answer_s=30.0)
    await with_rare_heartbeats(stage)
    for _ in range(10):
        await stage.later(31, "far")
    assert await stage.where("web") == [("n1", "lost")]
    lost = [line for line in await stage.lines("web") if line[0] == "lost"]
    assert lost == [("lost", "n1", "nothing was heard of its node")]


async def test_a_node_with_rare_heartbeats_is_judged_when_it_is_heard(
    make_stage: MakeStage,
) -> None:
    stage = await make_stage(answer_s=30.0)
    await with_rare_heartbeats(stage)
    await stage.later(1)
    assert await stage.where("web") == [("far", "running")]


async def test_it_waits_where_its_contract_does_not_replace(make_stage: MakeStage) -> None:
    stage = await make_stage(answer_s=30.0)
    deaf = await stage.node("n1")
    deaf.deaf = True
    await stage.put("web", requests=FULL, disconnect={"replace": False})
    await stage.step()
    await stage.node("n2")
    await stage.later(31)
    assert await stage.where("web") == [("n1", "lost")]
    deaf.deaf = False
    await stage.later(20)
    await stage.later(300)
    assert await stage.where("web") == [("n1", "running")]


async def test_a_node_that_comes_back_has_its_time_anew(make_stage: MakeStage) -> None:
    stage = await make_stage(answer_s=30.0)
    deaf = await stage.node("n1")
    deaf.deaf = True
    await stage.put("web", requests=FULL, disconnect={"lost_after_s": 10_000.0})
    await stage.step()
    stage.away("n1")
    await stage.node("n2", cores=1)
    await stage.later(1_000, "n2")
    stage.back("n1")
    await stage.later(20)
    assert await stage.where("web") == [("n1", "granted")]
    await stage.later(11)
    assert await stage.where("web") == [("n1", "lost")]


async def test_who_asks_for_its_lease_has_the_grant(make_stage: MakeStage) -> None:
    """Its reports may be late; that it runs is known."""
    stage = await make_stage(answer_s=30.0)
    node = await stage.node("n1")
    node.deaf = True
    contract = {"on_disconnect": "stop", "lost_after_s": 100.0}
    await stage.put("web", requests=FULL, disconnect=contract)
    await stage.step()
    (instance,) = await stage.instances("web")
    for _ in range(5):
        held = (("web", 0, instance["epoch"]),)
        await stage.room.asked("n1", LeaseRequest(boot="b", up_ms=1, held=held))
        await stage.later(20)
    assert await stage.where("web") == [("n1", "granted")]


async def test_a_driver_that_hangs_is_told_of(make_stage: MakeStage) -> None:
    stage = await make_stage(slow_s=60.0)
    node = await stage.node("n1")
    await stage.put("web", requests=FULL)
    node.deaf = True
    await stage.step()
    epoch = (await stage.instances("web"))[0]["epoch"]
    word = TaskEvent(task="web", instance=0, attempt=1, epoch=epoch, state="preparing", at_ms=0)
    await stage.say("n1", word)
    await stage.later(59)
    assert (await stage.instances("web"))[0]["reason"] is None
    await stage.later(2)
    (found,) = await stage.instances("web")
    assert found["pending_reason"] == (
        "preparing on n1 for more than 60 s: the driver process may hang, its node has said no more"
    )
    await stage.later(100)
    assert [line[0] for line in await stage.lines("web")].count("waiting") == 1


async def test_a_node_that_rejects_for_want_of_room_is_left_alone_for_a_while(
    make_stage: MakeStage,
) -> None:
    stage = await make_stage()
    liar = await stage.node("n1", cores=64)
    liar.rejects = "gpus: there is no GPU 3"
    for number in range(TOLERATED):
        await stage.put(f"t{number}", kind="batch", requests=FULL)
        await stage.step()
    await stage.put("web", requests=FULL)
    await stage.step()
    assert await stage.where("web") == [(None, "pending")]
    (candidate,) = (await stage.explained("web"))["candidates"]
    assert candidate["filter"] == "schedulable"
    assert "it has rejected 3 in a row, last: gpus: there is no GPU 3" in candidate["why"]
    liar.rejects = ""
    await stage.later(FIRST_S + 1)
    assert await stage.where("web") == [("n1", "running")]


@pytest.mark.parametrize(
    ("cores", "place"),
    [(-3, "pending"), ("many", "pending"), (1e18, "running"), (float("nan"), "pending")],
)
async def test_an_absurd_capacity_is_taken_for_what_can_be(
    make_stage: MakeStage, cores: Any, place: str
) -> None:
    stage = await make_stage()
    await stage.node("n1", cores=cores)
    await stage.put("web", requests=FULL)
    await stage.step()
    assert (await stage.where("web"))[0][1] == place
    if place == "pending":
        (candidate,) = (await stage.explained("web"))["candidates"]
        assert "0 cores" in candidate["why"]


def test_each_rest_is_longer_and_a_run_ends_the_count() -> None:
    now_s = 0.0
    resting = Resting(now_s=lambda: now_s)
    pauses = []
    for _ in range(8):
        resting.unanswered("n1")
        until_s = resting.until_s("n1")
        assert until_s is not None
        pauses.append(until_s - now_s)
        now_s = until_s
        assert resting.refusal("n1") == ""
    assert pauses == [min(FIRST_S * 2**n, MOST_S) for n in range(8)]
    resting.well("n1")
    resting.unanswered("n1")
    assert resting.until_s("n1") == now_s + FIRST_S


def test_a_task_that_is_wrong_is_not_its_nodes_fault() -> None:
    resting = Resting(now_s=lambda: 0.0)
    codes = ["bad_settings", "no_driver", "bad_grant", "old_epoch", None] * 5
    assert not [code for code in codes if resting.rejected("n1", code, "wrong")]
    assert [resting.rejected("n1", "no_room", "full") for _ in range(TOLERATED)][-1]


# Documents


def spec_of(noise: str) -> TaskSpec:
    return TaskSpec(kind="service", driver="process", run={"argv": [noise]})


async def test_a_document_that_would_be_too_large_is_a_filter(make_stage: MakeStage) -> None:
    stage = await make_stage()
    await stage.node("n1", cores=64)
    rng = Random(7)
    for number in range(8):
        noise = rng.randbytes(14_000).hex()
        await stage.put(f"t{number}", run={"argv": ["/bin/x", noise]}, requests={"cpu_cores": 0.1})
        await stage.step()
    states = [(await stage.where(f"t{number}"))[0][1] for number in range(8)]
    assert states[0] == "running"
    assert states[-1] == "pending"
    why = await stage.explained("t7")
    assert why["rejected"] == {"document": 1}
    assert why["candidates"][0]["filter"] == "document"
    # What stands in the document travels; another node takes the rest.
    assert stage.nodes["n1"].rev > 0
    await stage.node("n2", cores=64)
    await stage.step()
    assert await stage.where("t7") == [("n2", "running")]


@given(st.lists(st.integers(1, 40_000), max_size=8), st.integers(1, 40_000), st.randoms())
def test_what_the_filter_lets_pass_travels(sizes: list[int], more: int, rng: Any) -> None:
    documents = Documents()
    held = [text_of("t", spec_of(rng.randbytes(size // 2).hex())) for size in sizes]
    for number, text in enumerate(held):
        documents.add("n1", f"t/{number}/1", text)
    new = text_of("t", spec_of(rng.randbytes(more // 2).hex()))
    full = "n1" in documents.full_for(new)
    small = sum(map(len, held)) + len(new) < MAX_MESSAGE_BYTES - 1024
    packed = packed_bytes(*held, new) <= MAX_MESSAGE_BYTES
    inflated = sum(map(len, held)) + len(new) <= MAX_TASKS_BYTES - 1024
    if small:
        assert not full
    if held and not (packed and inflated):
        assert full
    for number in range(len(held)):
        documents.remove("n1", f"t/{number}/1")
    assert "n1" not in documents.full_for(text_of("t", spec_of("x")))


async def test_what_a_deleted_task_had_lost_holds_no_place_for_ever(make_stage: MakeStage) -> None:
    """Nobody looks again at an instance that is gone; its node comes back, and has all its room."""
    stage = await make_stage()
    await stage.node("n1")
    full = {"requests": {"cpu_cores": 2.0}, "disconnect": {"lost_after_s": 1.0, "replace": False}}
    await stage.put("web", **full)
    await stage.step()
    assert await stage.where("web") == [("n1", "running")]
    stage.away("n1")
    stage.clock.now_s += 60.0
    stage.room.wake()
    await stage.step()
    assert await stage.where("web") == [("n1", "lost")]
    await stage.room.service.delete("web", "ada")
    await stage.step()
    stage.back("n1")
    await stage.step()
    await stage.put("next", requests={"cpu_cores": 2.0})
    await stage.step()
    assert await stage.where("next") == [("n1", "running")]
