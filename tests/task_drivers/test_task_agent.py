"""A whole agent of this machine is given tasks: artifacts, environment, pins, health, logs, telemetry."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from edge.edge_bench import eventually
from edge.test_edge_agent import World
from farshore_edge.app import Agent
from farshore_edge.settings import load
from farshore_edge.tasks.host import host_tasks
from farshore_protocol.clock import SystemClock
from farshore_protocol.codec import encode
from farshore_protocol.link import BackoffSettings
from farshore_protocol.link.memory import MemoryLink
from farshore_protocol.tasks import DesiredTasks, Grant, TaskSpec
from farshore_protocol.tasks.spec import FromConfig, HealthCheck, Limits
from task_drivers.rigs import make_wheel
from task_parts.test_task_artifacts import Shop

WHEEL = "measure-1.0-py3-none-any.whl"
MODULE = """\
import json, os
def main():
    print("rate", os.environ["RATE"], "epoch", os.environ["FARSHORE_EPOCH"])
    with open(os.environ["FARSHORE_RESULT"], "w") as file:
        json.dump({"instance": int(os.environ["FARSHORE_INSTANCE"])}, file)
"""


class Node(World):
    """As a real machine's agent, but for its link."""

    def begin(self, data: Path) -> Agent:
        flags = {"node": "n1", "data": str(data), "dev": True, "stop_grace_s": 1}
        clock, rng = SystemClock(), random.Random(1)
        backoff = BackoffSettings(first_s=0.01, max_s=0.02)
        self.agent = Agent(
            load({**flags, "sample_interval_s": 0.1, "batch_s": 0.1}, {}).settings,
            machine=self.machine,
            database=self.disk,
            link=MemoryLink(self.bus, clock=clock, rng=rng, backoff=backoff),
            clock=clock,
            rng=rng,
            tasks=host_tasks(data),
        )
        self.agent._usage._interval_s = 0.2
        self.running = asyncio.create_task(self.agent.run())
        return self.agent

    def want(self, rev: int, **specs: TaskSpec) -> None:
        grants = tuple(
            Grant(task=task, instance=2, attempt=1, epoch=7, spec=spec)
            for task, spec in specs.items()
        )
        self.say("desired/tasks", encode(DesiredTasks(rev=rev, grants=grants)))

    def events(self, task: str, state: str) -> list[dict[str, Any]]:
        said = [word["data"] for word in self.words("evt/task")]
        return [data for data in said if (data["task"], data["state"]) == (task, state)]

    def series(self) -> set[str]:
        return {name for word in self.words("tel/host") for name in word["m"]}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node()
    made.begin(tmp_path)
    await eventually(lambda: made.words("birth"))
    yield made
    made.want(99)
    await eventually(lambda: not made.agent.status()["tasks"]["held"])
    await made.agent.stop()
    await made.running


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.close()


async def test_a_batch_comes_with_its_wheel_and_leaves_its_result(
    node: Node, shop: Shop, tmp_path: Path
) -> None:
    make_wheel(tmp_path / "made.whl", "measure", MODULE)
    artifact = shop.offer(WHEEL, (tmp_path / "made.whl").read_bytes())
    spec = TaskSpec(
        kind="batch",
        driver="python",
        run={"entry": "measure:main", "wheel": WHEEL},
        artifacts=(artifact,),
        env={"RATE": FromConfig(config="/app/rate", default="5")},
    )
    node.want(1, measure=spec)
    await eventually(lambda: node.events("measure", "succeeded"))
    [event] = node.events("measure", "succeeded")
    assert (event["exit_code"], event["result"]) == (0, {"instance": 2})
    output = tmp_path / "tasks/measure.2.7/output.log"
    assert output.read_text() == "rate 5 epoch 7\n"


async def test_a_wrong_digest_fails_it_with_both_digests(node: Node, shop: Shop) -> None:
    artifact = shop.offer("a", b"what was agreed")
    shop.files["a"] = b"something else"
    run = {"argv": ["true"]}
    node.want(1, bad=TaskSpec(kind="batch", driver="process", run=run, artifacts=(artifact,)))
    await eventually(lambda: node.events("bad", "failed"))
    [event] = node.events("bad", "failed")
    assert event["code"] == "bad_digest"
    assert artifact.digest in event["reason"]


async def test_a_service_is_seen_in_health_processors_telemetry_and_logs(node: Node) -> None:
    spec = TaskSpec(
        kind="service",
        driver="process",
        run={"argv": ["/bin/sh", "-c", "touch well; echo up; exec sleep 600"]},
        limits=Limits(pin_cpus=True),
        health=HealthCheck(command=["/usr/bin/test", "-e", "well"], interval_s=0.2),
    )
    node.want(1, camera=spec)
    await eventually(lambda: node.events("camera", "running"))
    await eventually(
        lambda: any(held["cpus"] for w in node.words("rep/tasks") for held in w["held"])
    )
    await eventually(lambda: "task.mem.bytes{task=camera/2}" in node.series())
    await eventually(lambda: "task.cpu.cores{task=camera/2}" in node.series())
    body = {"id": "c1", "verb": "logs", "args": {"unit": "camera/2"}, "timeout_s": 10}
    node.say("cmd/logs", orjson.dumps(body))
    await eventually(lambda: any("up" in str(word) for word in node.words("res/")))
