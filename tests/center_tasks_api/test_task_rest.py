"""Tasks over HTTP, in a running center with nodes that answer over MQTT."""

import json
import zlib
from typing import Any

import pytest
from center.conftest import MakeNode
from center.conftest import make_node as make_node
from center.running import PahoNode, RunningCenter, now_ms, record, until
from farshore_center.cli.config_input import read_document
from farshore_center.cli.task_example import EXAMPLES

API = "/api/v1"
GIB = 2**30
SPEC: dict[str, Any] = {
    "kind": "service",
    "driver": "process",
    "run": {"argv": ["/bin/sleep", "60"]},
    "requests": {"cpu_cores": 1, "memory_bytes": GIB},
}
FACTS = {"cpu": {"cores_logical": 4}, "mem": {"total_bytes": 8 * GIB}}


class Worker:
    """A node that says that it has four cores, and that what it is given runs."""

    def __init__(self, node: PahoNode) -> None:
        self.node = node
        self._seq = {"reports": 0, "events": 0}

    async def begin(
        self,
        running: RunningCenter,
        group: str = "eu/hamburg",
        *,
        labels: dict[str, str] | None = None,
        drivers: tuple[str, ...] = ("process",),
        facts: dict[str, Any] | None = None,
    ) -> "Worker":
        can = {"verbs": ["ping"], "drivers": drivers}
        await self.node.publish("presence", {"state": "online", "boot": "b00t", "conn": 1})
        await self.node.birth(group=group, capabilities=can, labels=labels or {})
        await self._say("reports", "rep/facts", digest="sha256:f", facts=facts or FACTS)

        async def known() -> bool:
            return bool((await running.get(f"/nodes/{self.node.name}"))["facts"])

        await until(known, "the node's facts")
        return self

    async def _say(self, stream: str, topic: str, **content: Any) -> None:
        self._seq[stream] += 1
        await self.node.publish(topic, record(self._seq[stream], **content))

    async def tells(self, kind: str, **data: Any) -> int:
        """An event of another kind; its number."""
        await self._say("events", f"evt/{kind}", data=data)
        return self._seq["events"]

    def desired(self) -> dict[str, Any] | None:
        """The newest document of tasks."""
        topic = f"fs1/down/{self.node.name}/desired/tasks"
        found = [payload for at, payload in list(self.node.answers) if at == topic]
        if not found:
            return None
        packed = found[-1]
        text = packed if packed[:1] == b"{" else zlib.decompress(packed)
        document: dict[str, Any] = json.loads(text)
        return document

    async def granted(self, task: str) -> dict[str, Any]:
        def wanted() -> dict[str, Any] | None:
            grants = (self.desired() or {}).get("grants", [])
            return next((each for each in grants if each["task"] == task), None)

        found: dict[str, Any] = await until(wanted, f"a grant of {task}")
        return found

    async def says(self, grant: dict[str, Any], state: str, **more: Any) -> None:
        of = {name: grant[name] for name in ("task", "instance", "attempt", "epoch")}
        data = {**of, "state": state, "at_ms": now_ms(), **more}
        await self._say("events", "evt/task", data=data)


@pytest.fixture
async def worker(running: RunningCenter, make_node: MakeNode) -> Worker:
    return await Worker(await make_node("pi-1")).begin(running)


async def put(running: RunningCenter, name: str, spec: Any, **headers: str) -> Any:
    return await running.http.put(f"{API}/tasks/{name}", json=spec, headers=headers)


async def in_state(running: RunningCenter, name: str, state: str) -> dict[str, Any]:
    async def found() -> dict[str, Any] | None:
        task: dict[str, Any] = await running.get(f"/tasks/{name}")
        return task if task["state"] == state else None

    task: dict[str, Any] = await until(found, f"{name} as {state}")
    return task


async def test_a_task_is_put_runs_is_explained_and_stops(
    running: RunningCenter, worker: Worker
) -> None:
    made = await put(running, "camera", SPEC, **{"X-Farshore-Author": "ada"})
    assert made.status_code == 201, made.text
    assert made.json()["notes"] == []
    grant = await worker.granted("camera")
    assert grant["spec"]["run"] == SPEC["run"]
    await worker.says(grant, "running")
    task = await in_state(running, "camera", "running")
    (instance,) = task["instances"]
    assert (instance["node"], instance["epoch"]) == ("pi-1", grant["epoch"])
    (why,) = (await running.get("/tasks/camera/explain"))["instances"]
    assert (why["decision"], why["node"]) == ("placed", "pi-1")
    assert why["candidates"][0]["node"] == "pi-1"
    pool = (await running.get("/pool"))["total"]
    assert pool["reserved"]["cpu_milli"] == 1000
    assert pool["capacity"]["memory_bytes"] == 8 * GIB
    stopped = await running.http.post(f"{API}/tasks/camera/stop")
    assert stopped.status_code == 200

    def told() -> bool:
        grants = (worker.desired() or {})["grants"]
        return any(each["want"] == "stop" for each in grants)

    await until(told, "the wish that it stops")
    await worker.says(grant, "stopped")
    await in_state(running, "camera", "stopped")
    lines = (await running.get("/tasks/camera/history"))["items"]
    assert lines[0]["by"] == "ada"
    assert {"placed", "running", "stopped"} <= {line["state"] for line in lines}


async def test_who_restarts_a_task_sees_what_is_still_as_it_was(
    running: RunningCenter, worker: Worker
) -> None:
    await put(running, "camera", SPEC)
    old = await worker.granted("camera")
    await worker.says(old, "running")
    assert (await in_state(running, "camera", "running"))["behind"] == 0
    asked = await running.http.post(f"{API}/tasks/camera/restart")
    document = asked.json()
    assert (document["state"], document["behind"]) == ("running", 1)
    assert [each["epoch"] for each in document["instances"]] == [old["epoch"]]

    def told() -> bool:
        return any(each["want"] == "stop" for each in (worker.desired() or {})["grants"])

    await until(told, "the wish that it stops")
    await worker.says(old, "stopped")

    def anew() -> bool:
        return any(each["epoch"] > old["epoch"] for each in (worker.desired() or {})["grants"])

    await until(anew, "the new grant")
    assert (await running.get("/tasks/camera"))["behind"] == 0


async def test_the_same_again_changes_nothing_and_a_late_change_is_refused(
    running: RunningCenter,
) -> None:
    first = await put(running, "camera", SPEC)
    again = await put(running, "camera", SPEC)
    assert (again.status_code, again.json()["changed"]) == (200, False)
    assert again.headers["etag"] == first.headers["etag"]
    other = {**SPEC, "count": 2}
    changed = await put(running, "camera", other, **{"If-Match": first.headers["etag"]})
    assert changed.json()["revision"] == 2
    late = await put(running, "camera", SPEC, **{"If-Match": first.headers["etag"]})
    assert late.status_code == 412


@pytest.mark.parametrize("name", sorted(EXAMPLES))
async def test_what_is_given_back_can_be_put_again_and_changes_nothing(
    running: RunningCenter, name: str
) -> None:
    written = read_document(EXAMPLES[name].encode(), "example.yaml")
    task = written.pop("name")
    assert (await put(running, task, written)).status_code == 201
    given = (await running.get(f"/tasks/{task}"))["spec"]
    again = await put(running, task, given)
    assert (again.status_code, again.json()["changed"]) == (200, False)


async def test_what_is_wrong_is_refused_and_nothing_is_there(running: RunningCenter) -> None:
    refused = await put(running, "camera", {**SPEC, "cuont": 2, "driver": "proces"})
    assert refused.status_code == 422
    assert [each["field"] for each in refused.json()["errors"]] == ["cuont"]
    selector = await put(running, "camera", {**SPEC, "constraint": "label.env="})
    assert selector.json()["selector"]["column"] == len("label.env=") + 1
    assert (await running.get("/tasks"))["items"] == []
    assert (await running.http.get(f"{API}/tasks/camera")).status_code == 404


async def test_what_fits_nowhere_says_which_filter_refused_how_many(
    running: RunningCenter, worker: Worker
) -> None:
    del worker
    big = {**SPEC, "requests": {"cpu_cores": 64}}
    made = await put(running, "big", big)
    assert [note["field"] for note in made.json()["notes"]] == ["requests.cpu_cores"]

    async def waits() -> bool:
        task = await running.get("/tasks/big")
        return any(each["pending_reason"] for each in task["instances"])

    await until(waits, "the reason why it waits")
    (instance,) = (await running.get("/tasks/big"))["instances"]
    assert instance["pending_reason"] == "none of 1 nodes: cpu refuses 1"
    (why,) = (await running.get("/tasks/big/explain"))["instances"]
    assert (why["decision"], why["rejected"]) == ("pending", {"cpu": 1})


async def test_a_quota_is_asked_in_the_same_breath(running: RunningCenter) -> None:
    await running.http.put(f"{API}/quotas/all", json={"cpu_cores": 2})
    assert (await put(running, "one", SPEC)).status_code == 201
    refused = await put(running, "two", {**SPEC, "count": 2})
    assert refused.status_code == 409
    assert refused.json()["quota"] == [
        {"group": "", "resource": "cpu_cores", "asked": 2.0, "used": 1.0, "allowed": 2.0}
    ]
    assert (await running.http.post(f"{API}/tasks/one/stop")).status_code == 200
    assert (await put(running, "two", {**SPEC, "count": 2})).status_code == 201
    again = await running.http.post(f"{API}/tasks/one/start")
    assert again.status_code == 409
    assert (await running.get("/quotas/all"))["used"]["cpu_cores"] == 2.0


async def test_a_stopped_task_may_be_written_anew_beyond_its_quota(running: RunningCenter) -> None:
    await running.http.put(f"{API}/quotas/all", json={"instances": 1})
    await put(running, "one", SPEC)
    await running.http.post(f"{API}/tasks/one/stop")
    assert (await put(running, "one", {**SPEC, "count": 2})).status_code == 200
    assert (await running.http.post(f"{API}/tasks/one/start")).status_code == 409


async def test_a_task_that_runs_nowhere_is_deleted_at_once(running: RunningCenter) -> None:
    await put(running, "camera", SPEC)
    gone = await running.http.delete(f"{API}/tasks/camera")
    assert gone.status_code == 200

    async def forgotten() -> bool:
        return (await running.http.get(f"{API}/tasks/camera")).status_code == 404

    await until(forgotten, "the end of the task")
    assert (await running.get("/tasks/camera/history"))["items"][-1]["state"] == "deleted"


async def test_pages_of_tasks(running: RunningCenter) -> None:
    for number in range(5):
        await put(running, f"t{number}", SPEC)
    names: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = await running.get("/tasks", limit=2, **cursor)
        names += [each["name"] for each in page["items"]]
        assert all("instances" not in each for each in page["items"])
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert names == [f"t{number}" for number in range(5)]
    assert (await running.http.get(f"{API}/tasks?cursor=nonsense")).status_code == 422


async def test_a_drained_node_gets_nothing_new_and_says_what_it_has(
    running: RunningCenter, worker: Worker
) -> None:
    await put(running, "camera", SPEC)
    await worker.says(await worker.granted("camera"), "running")
    await in_state(running, "camera", "running")
    drained = await running.http.post(f"{API}/nodes/pi-1/drain", json={"reason": "fan"})
    assert drained.status_code == 200
    assert (drained.json()["drained"], drained.json()["instances"]) == (True, 1)
    assert (await running.get("/nodes/pi-1"))["drained"] is True
    await put(running, "late", SPEC)

    async def refused() -> bool:
        task = await running.get("/tasks/late")
        return any("schedulable" in (each["pending_reason"] or "") for each in task["instances"])

    await until(refused, "the refusal of the drained node")
    closed = (await running.get("/pool"))["total"]["closed"]["cpu_milli"]
    assert closed == 3000
    assert (await running.http.post(f"{API}/nodes/pi-1/undrain")).json()["drained"] is False
    assert (await running.get("/nodes/pi-1"))["drained"] is False
    await worker.granted("late")
    assert (await running.http.post(f"{API}/nodes/nobody/drain")).status_code == 404


async def test_the_work_in_silos(running: RunningCenter, make_node: MakeNode) -> None:
    for name, group in (("a", "eu"), ("b", "us")):
        await Worker(await make_node(name)).begin(running, group)
    for number in range(2):
        await put(running, f"t{number}", {**SPEC, "requests": {"cpu_cores": 3}, "group": "eu"})

    async def placed() -> bool:
        found = await running.get("/pool/silos")
        return bool(found["together"]["placed"] == 2)

    await until(placed, "places for both")
    found = await running.get("/pool/silos")
    assert found["groups"]["eu"] == {
        "nodes": 1, "asked": 2, "placed": 1, "nodes_more": 1, "impossible": 0,
    }  # fmt: skip
    assert found["together"]["utilisation"]["cpu_milli"] == pytest.approx(0.75)
    assert found["apart"]["utilisation"]["cpu_milli"] == pytest.approx(0.5)
