"""Who pushes whom out: with a real database and played nodes, and over histories that Hypothesis makes."""

from collections.abc import Awaitable, Callable

from center_tasks.moving_stage import Stage

MakeStage = Callable[..., Awaitable[Stage]]
FULL = {"cpu_cores": 2.0}


async def test_a_higher_priority_takes_the_place_of_a_lower_one_and_all_of_it_is_told(
    make_stage: MakeStage,
) -> None:
    stage = await make_stage()
    await stage.node("n1")
    await stage.put("low", priority=20, requests=FULL)
    await stage.step()
    assert await stage.where("low") == [("n1", "running")]
    await stage.put("high", priority=90, requests=FULL)
    await stage.step()
    assert await stage.where("high") == [("n1", "running")]
    assert await stage.where("low") == [(None, "pending")]

    low = await stage.lines("low")
    assert ("preempted", "n1", "high/0 (priority 90) needs its place; its own is 20") in low
    assert [line[0] for line in low if line[0] in ("preempted", "stopped")] == [
        "preempted",
        "stopped",
    ]
    waits = [line[2] for line in await stage.lines("high") if line[0] == "unplaceable"]
    assert waits == [
        "none of 1 nodes: cpu refuses 1; low/0 (priority 20) must give way on n1 first"
    ]
    why = await stage.explained("low")
    assert why["decision"] == "pending"
    assert why["gave_way"]["by"] == {"task": "high", "instance": 0, "priority": 90}
    assert stage.room.stats()["preempted"] == 1
    why = await stage.explained("high")
    assert why["pushed_out"] == [{"task": "low", "instance": 0, "priority": 20}]
    grant = stage.nodes["n1"].document
    assert grant is not None
    told = {each.task: (each.want, each.reason) for each in grant.grants}
    assert told["low"] == ("stop", "preempted")

    # It is placed again where there is room, and says what became of it before.
    await stage.node("n2")
    await stage.step()
    assert await stage.where("low") == [("n2", "running")]
    why = await stage.explained("low")
    assert (why["decision"], why["gave_way"]["decision"]) == ("placed", "preempted")


async def test_below_the_distance_nobody_is_pushed_out(make_stage: MakeStage) -> None:
    stage = await make_stage()
    await stage.node("n1")
    await stage.put("low", priority=50, requests=FULL)
    await stage.step()
    await stage.put("same", priority=59, requests=FULL)
    await stage.step()
    await stage.later(60)
    assert await stage.where("low") == [("n1", "running")]
    assert await stage.where("same") == [(None, "pending")]


async def test_where_preemption_is_off_nobody_is_pushed_out(make_stage: MakeStage) -> None:
    stage = await make_stage(preempt=False)
    await stage.node("n1")
    await stage.put("low", priority=0, requests=FULL)
    await stage.step()
    await stage.put("high", priority=100, requests=FULL)
    await stage.step()
    await stage.later(60)
    assert await stage.where("high") == [(None, "pending")]


async def test_the_place_that_becomes_free_is_kept_for_who_pushed(make_stage: MakeStage) -> None:
    """Smaller tasks come at every moment, and none of them gets in between."""
    stage = await make_stage()
    node = await stage.node("n1")
    for name in ("low", "lower"):
        await stage.put(name, priority=10, requests={"cpu_cores": 1.0})
    await stage.step()
    node.slow = True  # it takes its time to end them
    await stage.put("high", priority=90, requests=FULL)
    await stage.step()
    first, second = [grant for grant in node.document.grants if grant.want == "stop"]  # type: ignore[union-attr]
    await stage.say("n1", node.say(first, "stopped"))
    await stage.put("sneak", priority=85, requests={"cpu_cores": 1.0})
    await stage.step()
    await stage.later(20)
    assert await stage.where("sneak") == [(None, "pending")]
    assert await stage.where("high") == [(None, "pending")]
    await stage.say("n1", node.say(second, "stopped"))
    await stage.step()
    assert await stage.where("high") == [("n1", "running")]


async def test_a_center_that_is_restarted_keeps_the_place(make_stage: MakeStage) -> None:
    stage = await make_stage()
    node = await stage.node("n1")
    await stage.put("low", priority=10, requests=FULL)
    await stage.step()
    node.slow = True
    await stage.put("high", priority=90, requests=FULL)
    await stage.step()
    await stage.restart()
    await stage.step()
    (ending,) = [grant for grant in node.document.grants if grant.want == "stop"]  # type: ignore[union-attr]
    await stage.put("sneak", priority=85, requests={"cpu_cores": 1.0})
    await stage.say("n1", node.say(ending, "stopped"))
    await stage.step()
    assert await stage.where("high") == [("n1", "running")]
    assert await stage.where("sneak") == [(None, "pending")]


async def test_what_is_kept_is_given_up_when_nobody_wants_it(make_stage: MakeStage) -> None:
    stage = await make_stage()
    node = await stage.node("n1")
    await stage.put("low", priority=10, requests=FULL)
    await stage.step()
    node.slow = True
    await stage.put("high", priority=90, requests=FULL)
    await stage.step()
    await stage.room.service.stop("high", "ada")
    await stage.step()
    (ending,) = [grant for grant in node.document.grants if grant.want == "stop"]  # type: ignore[union-attr]
    node.slow = False
    await stage.say("n1", node.say(ending, "stopped"))
    await stage.step()
    assert await stage.where("low") == [("n1", "running")]


async def test_a_service_never_loses_more_than_its_budget_at_once(make_stage: MakeStage) -> None:
    stage = await make_stage()
    node = await stage.node("n1", cores=4)
    await stage.put("low", priority=10, requests={"cpu_cores": 1.0}, count=4)
    await stage.step()
    node.slow = True
    await stage.put("one", priority=90, requests={"cpu_cores": 1.0})
    await stage.step()
    await stage.put("two", priority=90, requests={"cpu_cores": 1.0})
    await stage.step()
    await stage.later(20)
    ending = [grant for grant in node.document.grants if grant.want == "stop"]  # type: ignore[union-attr]
    assert len(ending) == 1


async def test_a_service_that_would_lose_too_many_is_spared(make_stage: MakeStage) -> None:
    stage = await make_stage()
    await stage.node("n1", cores=4)
    await stage.put("low", priority=10, requests={"cpu_cores": 1.0}, count=4)
    await stage.step()
    await stage.put("all", priority=95, requests={"cpu_cores": 4.0})
    await stage.step()
    assert await stage.where("low") == [("n1", "running")] * 4
    assert "give way" not in (await stage.instances("all"))[0]["pending_reason"]
    await stage.room.service.delete("all", "ada")
    # Somebody else gives way, though its priority is higher.
    await stage.node("n2", cores=4)
    await stage.put("report", kind="batch", priority=60, requests={"cpu_cores": 4.0})
    await stage.step()
    await stage.put("all", priority=95, requests={"cpu_cores": 4.0})
    await stage.step()
    assert await stage.where("low") == [("n1", "running")] * 4
    assert await stage.where("all") == [("n2", "running")]
    assert await stage.where("report") == [(None, "pending")]


async def test_nobody_is_pushed_out_where_a_place_becomes_free_anyway(
    make_stage: MakeStage,
) -> None:
    stage = await make_stage()
    node = await stage.node("n1")
    await stage.put("ends", priority=90, requests=FULL)
    await stage.step()
    await stage.node("n2")
    await stage.put("low", priority=10, requests=FULL)
    await stage.step()
    node.slow = True
    await stage.room.service.stop("ends", "ada")
    await stage.step()
    await stage.put("high", priority=90, requests=FULL)
    await stage.step()
    await stage.later(20)
    assert await stage.where("low") == [("n2", "running")]
    (ending,) = [grant for grant in node.document.grants if grant.want == "stop"]  # type: ignore[union-attr]
    await stage.say("n1", node.say(ending, "stopped"))
    await stage.step()
    assert await stage.where("high") == [("n1", "running")]
    assert await stage.where("low") == [("n2", "running")]


async def test_a_victim_on_a_lease_runs_elsewhere_only_after_its_end(make_stage: MakeStage) -> None:
    stage = await make_stage()
    node = await stage.node("n1", drivers=("process", "python"))
    contract = {"on_disconnect": "stop", "lost_after_s": 10.0}
    await stage.put("low", priority=10, requests=FULL, disconnect=contract)
    await stage.step()
    await stage.leases(node)
    node.slow = True
    only_there = {"driver": "python", "run": {"entry": "app:main"}}
    await stage.put("high", priority=90, requests=FULL, **only_there)
    await stage.step()
    await stage.node("n2")
    await stage.step()
    # There is room, and no word yet that it has ended.
    assert await stage.where("low") == [("n1", "running")]
    held = stage.room.leases.answered
    await stage.leases(node)
    assert stage.room.leases.answered == held
    (ending,) = [grant for grant in node.document.grants if grant.want == "stop"]  # type: ignore[union-attr]
    await stage.say("n1", node.say(ending, "stopped"))
    await stage.step()
    assert await stage.where("low") == [("n2", "running")]


async def test_pushed_by_pushed_comes_to_an_end(make_stage: MakeStage) -> None:
    stage = await make_stage()
    for name in ("n1", "n2"):
        await stage.node(name)
    for name, priority in (("c", 10), ("d", 10), ("b", 40), ("a", 70), ("e", 70)):
        await stage.put(name, priority=priority, requests=FULL)
        await stage.step()
    for _ in range(5):
        await stage.later(20)
    states = {name: (await stage.where(name))[0][1] for name in "abcde"}
    assert states == {
        "a": "running", "e": "running", "b": "pending", "c": "pending", "d": "pending",
    }  # fmt: skip
    assert stage.room.stats()["preempted"] == 3
