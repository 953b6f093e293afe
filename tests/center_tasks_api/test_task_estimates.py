"""What an estimate is made of reaches a decision: links, run times, charges, costs, clusters; by a real
center, from what nodes say and people write."""

from functools import partial
from typing import Any

import pytest
from center.conftest import MakeNode
from center.conftest import make_node as make_node
from center.running import RunningCenter, batch, until
from center_tasks_api.test_task_rest import FACTS, Worker, in_state, put

JOB: dict[str, Any] = {
    "kind": "batch",
    "driver": "process",
    "run": {"argv": ["/bin/true"]},
    "requests": {"cpu_cores": 1},
}
MB = 1_000_000


@pytest.fixture
async def pair(running: RunningCenter, make_node: MakeNode) -> tuple[Worker, Worker]:
    """``pi-1`` at the edge, ``big-1`` in the core."""
    edge = await Worker(await make_node("pi-1")).begin(running)
    core = await Worker(await make_node("big-1")).begin(running, "core")
    return edge, core


async def decided(running: RunningCenter, name: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        (found,) = (await running.get(f"/tasks/{name}/explain"))["instances"]
        settled = found["node"] or found["reason"]
        explained: dict[str, Any] | None = found if settled else None
        return explained

    document: dict[str, Any] = await until(look, f"a decision on {name}")
    return document


def figure(why: dict[str, Any], name: str) -> tuple[float, str]:
    (found,) = [each for each in why["estimate"] if each["name"] == name]
    return found["value"], found["origin"]


def expect(why: dict[str, Any], name: str, value: float, origin: str) -> None:
    found, whence = figure(why, name)
    assert whence == origin
    assert found == pytest.approx(value)


def on(why: dict[str, Any], node: str) -> dict[str, Any]:
    (found,) = [each for each in why["candidates"] if each["node"] == node]
    return dict(found)


async def measured(running: RunningCenter, worker: Worker, **word: Any) -> None:
    seq = await worker.tells("link", **word)
    await until(lambda: worker.node.acknowledged("events", seq), "the acknowledgement")


async def done(running: RunningCenter, worker: Worker, name: str, run_s: float) -> None:
    await worker.says(await worker.granted(name), "running")
    await worker.says(await worker.granted(name), "succeeded", run_s=run_s, exit_code=0)
    await in_state(running, name, "done")


async def again(running: RunningCenter, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The task with another specification, and what is then decided."""
    await running.http.post(f"/api/v1/tasks/{name}/stop")
    changed = await put(running, name, spec)
    assert changed.status_code == 200, changed.text
    before = (await running.get(f"/tasks/{name}"))["instances"][0]["epoch"]
    assert (await running.http.post(f"/api/v1/tasks/{name}/start")).status_code == 200

    async def anew() -> bool:
        found = await running.get(f"/tasks/{name}")
        (each,) = [each for each in found["instances"] if each["instance"] == 0]
        # What was said of its last run may still stand there until it is begun anew.
        return not found["behind"] and (each["epoch"] != before or bool(each["pending_reason"]))

    await until(anew, f"a new decision on {name}")
    return await decided(running, name)


async def test_the_rate_of_a_link_is_assumed_until_the_node_has_measured_it(
    running: RunningCenter, pair: tuple[Worker, Worker]
) -> None:
    edge, core = pair
    job = {**JOB, "where": "core", "reads": [{"where": "node:pi-1", "bytes": 4 * MB}]}
    await put(running, "first", job)
    why = await decided(running, "first")
    expect(why, "transfer", 4.1, "assumed")
    (link,) = why["links"]
    assert (link["node"], link["up_bytes_s"], link["measured_at"]) == ("pi-1", 1e6, None)

    # Whoever still moves something shares the link.
    await measured(running, edge, up_bytes_s=2e5, down_bytes_s=8e5, round_trip_s=0.5)
    await put(running, "beside", job)
    # 41 s beside all of the first one's bytes; what has gone of them meanwhile is reckoned off.
    assert figure(await decided(running, "beside"), "transfer")[0] > 30
    for name in ("first", "beside"):
        await done(running, core, name, run_s=1.0)
    await put(running, "second", job)
    why = await decided(running, "second")
    expect(why, "transfer", 20.5, "measured")
    (link,) = why["links"]
    assert (link["up_bytes_s"], link["down_bytes_s"], link["round_trip_s"]) == (2e5, 8e5, 0.5)
    assert link["measured_at"] is not None

    # What a word leaves out stays as it was.
    await done(running, core, "second", run_s=1.0)
    await measured(running, edge, up_bytes_s=4e5)
    await put(running, "third", job)
    assert figure(await decided(running, "third"), "transfer")[0] == pytest.approx(10.5)


async def test_a_rate_that_is_none_is_refused_and_changes_nothing(
    running: RunningCenter, pair: tuple[Worker, Worker]
) -> None:
    edge, _ = pair
    for word in ({"up_bytes_s": -1}, {"up_bytes_s": 1e18}, {"down_bytes_s": "fast"}):
        await measured(running, edge, **word)
    rejected = (await running.get("/rejected"))["items"]
    assert {each["reason"] for each in rejected} == {"bad_message"}
    assert "up_bytes_s" in str(rejected)
    await put(running, "job", {**JOB, "reads": [{"where": "node:pi-1", "bytes": MB}]})
    assert (await decided(running, "job"))["links"][0]["measured_at"] is None


async def test_what_a_run_took_is_learned_without_the_moving_of_its_data(
    running: RunningCenter, pair: tuple[Worker, Worker]
) -> None:
    """Of 20 s it moves data for 10.5 s and computes for the rest; with less data it is soon done."""
    edge, core = pair
    await measured(running, edge, up_bytes_s=4e5, down_bytes_s=4e5, round_trip_s=0.5)
    far = {**JOB, "where": "core", "reads": [{"where": "node:pi-1", "bytes": 4 * MB}]}
    await put(running, "job", far)
    await done(running, core, "job", run_s=20.0)
    less = {**far, "reads": [{"where": "node:pi-1", "bytes": 400_000}]}
    why = await again(running, "job", less)
    expect(why, "run", 9.5, "measured")
    expect(why, "transfer", 1.5, "measured")
    assert figure(why, "completion")[0] == pytest.approx(11.0)


async def test_the_side_of_a_batch_follows_its_bytes_and_what_runs_took_on_each_side(
    running: RunningCenter, pair: tuple[Worker, Worker]
) -> None:
    edge, core = pair
    await measured(running, edge, up_bytes_s=1e6, down_bytes_s=1e6, round_trip_s=0.0)
    here = {**JOB, "reads": [{"where": "node:pi-1", "bytes": 0}]}
    await put(running, "job", {**here, "where": "edge"})
    await done(running, edge, "job", run_s=12.0)
    core_first = await again(running, "job", {**here, "where": "core"})
    assert core_first["node"] == "big-1"
    await core.says(await core.granted("job"), "running")
    await core.says(await core.granted("job"), "succeeded", run_s=2.0)
    await in_state(running, "job", "done")

    light = {**here, "reads": [{"where": "node:pi-1", "bytes": 5 * MB}]}
    why = await again(running, "job", light)
    assert why["node"] == "big-1", "5 s on the way and 2 s there are less than 12 s"
    await core.says(await core.granted("job"), "succeeded", run_s=7.0)
    await in_state(running, "job", "done")
    heavy = {**here, "reads": [{"where": "node:pi-1", "bytes": 15 * MB}]}
    why = await again(running, "job", heavy)
    assert why["node"] == "pi-1", "15 s on the way are more than 12 s"
    assert on(why, "big-1")["parts"]["completion"] == pytest.approx(12 / 17, abs=0.01)


async def test_a_deadline_is_held_against_the_p95_and_not_against_the_mean(
    running: RunningCenter, make_node: MakeNode
) -> None:
    facts = {**FACTS, "cpu": {"cores_logical": 64}}
    worker = await Worker(await make_node("pi-1")).begin(running, facts=facts)
    many = {**JOB, "count": 20}
    await put(running, "job", many)

    async def all_granted() -> bool:
        return len((worker.desired() or {}).get("grants", [])) == 20

    await until(all_granted, "twenty grants")
    for grant in (worker.desired() or {})["grants"]:
        slow = grant["instance"] < 2
        await worker.says(grant, "succeeded", run_s=50.0 if slow else 1.0)
    await in_state(running, "job", "done")

    why = await again(running, "job", {**JOB, "count": 1, "deadline_s": 20.0})
    assert why["rejected"] == {"deadline": 1}
    assert "in 95 of 100 runs it takes 50 s" in on(why, "pi-1")["why"]
    why = await again(running, "job", {**JOB, "count": 1, "deadline_s": 600.0})
    assert why["node"] == "pi-1"
    assert figure(why, "run")[0] == pytest.approx(5.9)


async def test_a_floor_is_held_against_the_charge_that_telemetry_tells(
    running: RunningCenter, make_node: MakeNode
) -> None:
    charges = {"low": (10.0, 0.0), "full": (80.0, 0.0), "plugged": (10.0, 1.0)}
    for name, (percent, plugged) in charges.items():
        worker = await Worker(await make_node(name)).begin(running)
        m = {"battery.percent": [percent, percent], "battery.plugged": [plugged, plugged]}
        await worker.node.publish("tel/host", batch(1, m=m))
        await until(partial(worker.node.acknowledged, "metrics", 1), "the sample")
    await put(running, "job", {**JOB, "battery_min_percent": 20})
    why = await decided(running, "job")
    assert why["rejected"] == {"battery": 1}
    assert on(why, "low")["why"] == "needs 20 % of battery, 10 % is left"
    assert {each["node"] for each in why["candidates"] if each["score"]} == {"full", "plugged"}
    await put(running, "any", JOB)
    assert (await decided(running, "any"))["rejected"] == {}, "no floor was asked for"


async def test_what_a_core_second_and_a_byte_cost_stands_on_the_node(
    running: RunningCenter, make_node: MakeNode
) -> None:
    dear = {"cost_per_core_s": "0.5", "cost_per_byte": "1e-6"}
    await Worker(await make_node("dear")).begin(running, labels=dear)
    await Worker(await make_node("fair")).begin(running, labels={"cost_per_core_s": "0.1"})
    await put(running, "job", {**JOB, "run_s": 60})
    why = await decided(running, "job")
    assert why["node"] == "fair"
    assert on(why, "fair")["parts"]["money"] == 1
    assert on(why, "dear")["parts"]["money"] == pytest.approx(0.2)
    # Where the data is, no byte is paid for; elsewhere each of them, at its holder's price.
    await put(
        running, "data", {**JOB, "run_s": 1, "reads": [{"where": "node:dear", "bytes": 5 * MB}]}
    )
    why = await decided(running, "data")
    costs = {
        each["node"]: next(f["value"] for f in each["estimate"] if f["name"] == "cost")
        for each in why["candidates"]
    }
    assert costs == {"dear": pytest.approx(0.5), "fair": pytest.approx(5.1)}


async def test_a_cluster_is_there_for_its_driver_alone(
    running: RunningCenter, make_node: MakeNode
) -> None:
    cluster = {"driver": "dask", "cpu_cores": 64.0, "memory_bytes": 2**38, "workers": 8}
    await Worker(await make_node("gate")).begin(
        running, drivers=("dask", "process"), facts={**FACTS, "cluster": cluster}
    )
    large = {"cpu_cores": 32, "memory_bytes": 2**34}
    work = {"driver": "dask", "run": {"entry": "jobs:main"}, "requests": large}
    await put(running, "wide", {**JOB, **work})
    assert (await decided(running, "wide"))["node"] == "gate"
    await put(running, "local", {**JOB, "requests": large})
    why = await decided(running, "local")
    assert why["rejected"] == {"cpu": 1}
    assert on(why, "gate")["why"] == "needs 32 cores, 4 cores of 4 cores free"
    await put(running, "small", {**JOB, "requests": {"cpu_cores": 4}})
    assert (await decided(running, "small"))["node"] == "gate", "the node's own cores are untouched"
    await put(running, "wider", {**JOB, **work, "requests": {"cpu_cores": 40}})
    why = await decided(running, "wider")
    assert on(why, "gate")["why"] == (
        "needs 40 cores, 32 cores of 64 cores free in the cluster behind it"
    )
    total = (await running.get("/pool"))["total"]
    assert total["capacity"]["cpu_milli"] == 68_000
    assert total["reserved"]["cpu_milli"] == 36_000
    assert total["free"]["cpu_milli"] == 32_000


async def test_what_nobody_can_have_is_not_believed_and_the_pool_says_so(
    running: RunningCenter, make_node: MakeNode
) -> None:
    facts = {
        "cpu": {"cores_logical": 1e18},
        "mem": {"total_bytes": -5},
        "disks": [{"size_bytes": "many"}],
        "cluster": {"driver": "dask", "cpu_cores": 1e30, "memory_bytes": True},
    }
    labels = {"cost_per_byte": "nan"}
    await Worker(await make_node("liar")).begin(running, facts=facts, labels=labels)
    found = await running.get("/pool")
    assert found["total"]["capacity"]["memory_bytes"] == 0
    assert found["total"]["capacity"]["cpu_milli"] == 4096_000 + 2**20 * 1000
    told = "\n".join(found["doubts"]["liar"])
    for what in (
        "cpu.cores_logical: 1e+18 is not believed; it counts as 4096",
        "mem.total_bytes: -5 is not believed; it counts as 0",
        "disks.size_bytes: many is not believed",
        "cluster.cpu_cores: 1e+30 is not believed; it counts as 1.04858e+06",
        "cluster.memory_bytes: True is not believed",
        "label cost_per_byte: nan is not believed",
    ):
        assert what in told


async def test_a_named_device_is_one_task_s_at_a_time(
    running: RunningCenter, make_node: MakeNode
) -> None:
    camera = {**FACTS, "devices": [{"name": "camera0", "path": "/dev/video0"}]}
    await Worker(await make_node("pi-1")).begin(running)
    await Worker(await make_node("pi-2")).begin(running, facts=camera)
    task = {**JOB, "kind": "service", "requests": {"devices": ["camera0"]}}
    await put(running, "first", task)
    assert (await decided(running, "first"))["node"] == "pi-2"
    await put(running, "second", task)
    why = await decided(running, "second")
    assert why["reason"] == "none of 2 nodes: devices refuses 2"
    assert on(why, "pi-1")["why"] == "has no camera0"
    assert on(why, "pi-2")["why"] == "camera0 in use"
