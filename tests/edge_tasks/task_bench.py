"""What the tests of a node's tasks share: a bus with a node on it, grants, processes to look for."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from edge.edge_bench import eventually, seeded_ids
from farshore_edge.app import Agent
from farshore_edge.commands.verbs.table import marked
from farshore_edge.database import Database, MemoryDatabase
from farshore_edge.settings import load
from farshore_edge.tasks.drivers.limits.choice import ChosenLate
from farshore_edge.tasks.drivers.model import DriverError, Exit, Usage, Work
from farshore_edge.tasks.parts import TaskParts
from farshore_protocol.clock import SystemClock
from farshore_protocol.link import Message
from farshore_protocol.link.memory import MemoryBus, MemoryLink
from farshore_protocol.telemetry import inflate, pack_body

GONE_S = 10.0


def grant(
    task: str = "web",
    *,
    epoch: int = 10,
    instance: int = 0,
    want: str = "run",
    reason: str | None = None,
    kind: str = "service",
    driver: str = "process",
    run: Any = None,
    argv: list[str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    word = {
        "task": task,
        "instance": instance,
        "attempt": 1,
        "epoch": epoch,
        "want": want,
        "spec": {
            "kind": kind,
            "driver": driver,
            "run": run if run is not None else {"argv": argv or ["sleep", "600"]},
            "stop_grace_s": 2,
            **spec,
        },
    }
    return word if reason is None else {**word, "reason": reason}


def leased(lost_after_s: float, **more: Any) -> dict[str, Any]:
    disconnect = {"on_disconnect": "stop", "lost_after_s": lost_after_s}
    return grant(**{"disconnect": disconnect, "stop_grace_s": 0.5, **more})


class Machine:
    def collectors(self) -> list[Any]:
        return []

    def facts(self) -> dict[str, Any]:
        return {}


class World:
    """``renews``: whether the center answers requests for leases."""

    def __init__(self, parts: TaskParts, database: Database | None = None) -> None:
        self.parts = parts
        self.database = database or MemoryDatabase(seeded_ids())
        self.bus = MemoryBus()
        self.bus.tap = self._tap
        self.seen: list[tuple[str, Any]] = []
        self.renews = True
        self.agent: Agent | None = None
        self._running: asyncio.Task[None] | None = None

    def start(self, parts: TaskParts | None = None, **settings: Any) -> Agent:
        clock, rng = SystemClock(), random.Random()
        self.agent = Agent(
            load({"node": "n1", "stop_grace_s": 1, **settings}, {}).settings,
            machine=Machine(),
            database=self.database,
            link=MemoryLink(self.bus, clock=clock, rng=rng),
            clock=clock,
            rng=rng,
            tasks=parts or self.parts,
        )
        self._running = asyncio.create_task(self.agent.run())
        return self.agent

    async def up(self, parts: TaskParts | None = None) -> Agent:
        births = len(self.words("birth"))
        agent = self.start(parts)
        await eventually(lambda: len(self.words("birth")) > births)
        return agent

    async def stop(self) -> None:
        agent, running = self.agent, self._running
        self.agent = self._running = None
        if agent is not None and running is not None:
            await agent.stop()
            await running

    def _tap(self, client_id: str | None, message: Message) -> None:
        if client_id is None:
            return
        topic = message.topic.removeprefix("fs1/up/n1/")
        word = orjson.loads(inflate(message.payload))
        self.seen.append((topic, word))
        if topic == "birth":
            heads = {
                s: {"epoch": h["epoch"], "head": h["head"]} for s, h in word["streams"].items()
            }
            self.say("ack", heads)
        if topic == "lease" and self.renews:
            self.say("lease", {**word, "renewed": word["held"], "held": None})

    def say(self, what: str, word: Any, *, retain: bool = False) -> None:
        payload = word if isinstance(word, bytes) else pack_body(orjson.dumps(word))
        topic = f"fs1/down/n1/{what}"
        self.bus.publish(Message(topic=topic, payload=payload, qos=1, retain=retain))

    def give(self, rev: int, *grants: dict[str, Any]) -> None:
        self.say("desired/tasks", {"rev": rev, "grants": grants})

    def words(self, topic: str) -> list[Any]:
        return [word for seen, word in self.seen if seen == topic]

    def events(self, task: str = "web", **wanted: Any) -> list[dict[str, Any]]:
        told = [word["data"] for word in self.words("evt/task") if word["data"]["task"] == task]
        return [each for each in told if wanted.items() <= each.items()]

    async def comes(self, state: str, task: str = "web", times: int = 1, **more: Any) -> Any:
        await eventually(lambda: len(self.events(task, state=state, **more)) >= times)
        return self.events(task, state=state, **more)[times - 1]

    def held(self) -> dict[str, Any]:
        assert self.agent is not None
        return {each["task"]: each for each in self.agent.status()["tasks"]["held"]}

    async def pid(self, task: str = "web") -> int:
        await eventually(lambda: self.held().get(f"{task}/0", {}).get("pid"))
        return int(self.held()[f"{task}/0"]["pid"])


def of_tasks(folder: Path, task: str = "web", epoch: int = 10) -> frozenset[int]:
    """Whoever lives of an instance, its shim included."""
    return marked(f"FARSHORE_TASK_MARK={folder / 'tasks' / f'{task}.0.{epoch}'}")


def kill_tasks(folder: Path) -> None:
    """At the end of a test, whatever it has left, control groups as well."""
    for home in (folder / "tasks").glob("*.*.*"):
        for pid in marked(f"FARSHORE_TASK_MARK={home}"):
            with_pid(pid, signal.SIGKILL)
    cages = ChosenLate(folder)
    until_s = time.monotonic() + GONE_S
    for name in cages.ids():
        while cages.find(name).pids() and time.monotonic() < until_s:
            time.sleep(0.01)
        cages.find(name).remove()


def with_pid(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


class FakeRun:
    trace: Mapping[str, Any] = {}
    pid = 1

    def __init__(self, driver: "FakeDriver") -> None:
        self._driver = driver
        self._end: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    async def wait(self) -> Exit:
        return await asyncio.shield(self._end)

    async def stop(self, signal: str, grace_s: float) -> Exit:
        await self._driver.pass_("stop")
        self._driver.alive -= 1
        return Exit(signal=signal)

    async def usage(self) -> Usage | None:
        return None


class FakeDriver:
    """Hangs, fails or breaks at each of its verbs: ``{"start": "hang"}``; so often, then no more."""

    name = "process"

    def __init__(self, **troubles: tuple[str, int]) -> None:
        from farshore_protocol.tasks.settings import ProcessSettings

        self.settings = ProcessSettings
        self.troubles = dict(troubles)
        self.calls: list[str] = []
        self.alive = 0

    async def pass_(self, verb: str) -> None:
        self.calls.append(verb)
        how, left = self.troubles.get(verb, ("", 0))
        if left <= 0:
            return
        self.troubles[verb] = how, left - 1
        match how:
            case "hang":
                await asyncio.Event().wait()
            case "break":
                raise RuntimeError("broken on purpose")
            case "fail":
                raise DriverError("on_purpose", "it fails on purpose")
            case "permanent":
                raise DriverError("on_purpose", "it never works", permanent=True)

    async def available(self) -> str | None:
        await self.pass_("available")
        return None

    async def prepare(self, work: Work) -> None:
        await self.pass_("prepare")

    async def start(self, work: Work) -> FakeRun:
        await self.pass_("start")
        self.alive += 1
        return FakeRun(self)

    async def adopt(self, work: Work, trace: Mapping[str, Any]) -> FakeRun | None:
        await self.pass_("adopt")
        return FakeRun(self) if self.alive else None

    async def sweep(self, keep: frozenset[str]) -> list[str]:
        await self.pass_("sweep")
        return []

    async def remove(self, work: Work) -> None:
        await self.pass_("remove")
