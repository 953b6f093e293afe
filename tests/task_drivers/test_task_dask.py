"""The driver ``dask`` with a real cluster of this machine: a scheduler and a worker, each a process."""

import asyncio
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from edge.edge_bench import eventually
from edge.test_edge_agent import World
from farshore_edge.app import Agent
from farshore_edge.settings import load
from farshore_edge.tasks.drivers.dask.driver import DaskDriver, read_capacity
from farshore_edge.tasks.drivers.model import DriverError, Exit, Work
from farshore_edge.tasks.drivers.process import ProcessDriver
from farshore_edge.tasks.parts import TaskParts
from farshore_protocol.clock import SystemClock
from farshore_protocol.link.memory import MemoryLink
from farshore_protocol.tasks.settings import DaskSettings
from task_drivers.rigs import make_wheel, work

DEADLINE_S = 240.0
GIB = 1024**3
WHEEL = "dask_suite-1.0-py3-none-any.whl"
MODULE = """\
import os, pathlib, time
def square(number, *, by=1, who=None):
    return {"square": number * number * by, "epoch": who and who["FARSHORE_EPOCH"]}
def broken():
    raise ValueError("no such measurement")
def strange():
    return object()
def slow(folder):
    folder = pathlib.Path(folder)
    (folder / "began").touch()
    while not (folder / "go").exists():
        time.sleep(0.02)
    return "slow"
"""


class Cluster:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs: list[subprocess.Popen[bytes]] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        scheduler = ["dask_scheduler", "--host", "127.0.0.1", "--port", str(port)]
        worker = ["dask_worker", self.address, "--nthreads", "2", "--nworkers", "1"]
        self._start(*scheduler, "--no-dashboard", "--no-show")
        self._start(*worker, "--memory-limit", "1GiB", "--no-dashboard", "--no-nanny")

    def _start(self, module: str, *words: str) -> None:
        log = self._folder / f"{module}.log"
        with log.open("wb") as file:
            argv = [sys.executable, "-m", f"distributed.cli.{module}", *words]
            self._programs.append(
                subprocess.Popen(argv, cwd=self._folder, stdout=file, stderr=file)
            )

    def ready(self) -> "Cluster":
        """Once its worker has said that the scheduler knows it."""
        until_s = time.monotonic() + DEADLINE_S
        while "Registered to:" not in (self._folder / "dask_worker.log").read_text():
            assert not any(each.poll() for each in self._programs), self.log()
            assert time.monotonic() < until_s, self.log()
            time.sleep(0.05)
        return self

    def log(self) -> str:
        return "".join(each.read_text() for each in self._folder.glob("*.log"))

    def kill(self) -> None:
        for program in reversed(self._programs):
            program.kill()
            program.wait(DEADLINE_S)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("dask"))
    try:
        yield made.ready()
    finally:
        made.kill()


class Bench:
    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.again()

    def again(self) -> DaskDriver:
        self.driver = DaskDriver(ProcessDriver(self.folder), self.cluster.address)
        return self.driver

    def work(self, entry: str, *args: Any, **more: Any) -> Work:
        settings = DaskSettings(
            entry=f"dask_suite:{entry}", args=args, wheel=WHEEL, wait_s=DEADLINE_S
        )
        made = work(self.folder, replace(settings, **more))
        made = replace(made, env={**made.env, "FARSHORE_EPOCH": "7"})
        make_wheel(made.folder / WHEEL, "dask_suite", MODULE)
        return made

    async def end(self, made: Work) -> tuple[Exit, str]:
        async with asyncio.timeout(DEADLINE_S):
            await self.driver.prepare(made)
            found = await (await self.driver.start(made)).wait()
        return found, made.output.read_text()


@pytest.fixture
async def bench(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(cluster, tmp_path)
    yield made
    await made.again().sweep(frozenset())


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():  # noqa: ASYNC110 # a cluster's worker sends us no event
            await asyncio.sleep(0.05)


async def test_the_node_has_the_capacity_of_its_cluster(bench: Bench) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while (found := await bench.driver.capacity()) is None:  # it took too long to answer
            pass
    assert (found.cpu_cores, found.memory_bytes) == (2, GIB)
    assert found.facts == {"scheduler": bench.cluster.address, "workers": 1}
    assert await bench.driver.available() is None


async def test_the_agent_tells_of_it_in_its_facts(bench: Bench) -> None:
    node = World()
    settings = load({"node": "n1", "dev": True, "stop_grace_s": 1}, {}).settings
    clock, rng = SystemClock(), random.Random(1)
    agent = Agent(
        settings,
        machine=node.machine,
        database=node.disk,
        link=MemoryLink(node.bus, clock=clock, rng=rng),
        clock=clock,
        rng=rng,
        tasks=TaskParts(drivers=(bench.driver,)),
    )
    running = asyncio.create_task(agent.run())
    await eventually(lambda: node.words("rep/facts"), DEADLINE_S)
    [word] = node.words("rep/facts")
    cluster = word["facts"]["cluster"]
    assert (cluster["driver"], cluster["cpu_cores"], cluster["memory_bytes"]) == ("dask", 2, GIB)
    assert (cluster["workers"], cluster["scheduler"]) == (1, bench.cluster.address)
    await agent.stop()
    await running


async def test_work_is_done_by_the_cluster_and_its_result_comes_back(bench: Bench) -> None:
    made = bench.work("square", 12, kwargs={"by": 2}, context="who")
    found, said = await bench.end(made)
    assert found == Exit(exit_code=0), said
    assert json.loads((made.folder / "result").read_text()) == {"square": 288, "epoch": "7"}
    assert bench.cluster.address in said


async def test_what_the_work_raises_is_told(bench: Bench) -> None:
    made = bench.work("broken")
    found, said = await bench.end(made)
    assert found == Exit(exit_code=1)
    assert "no such measurement" in said
    assert not (made.folder / "result").exists()


@pytest.mark.parametrize("entry", ["none", "strange"])
async def test_a_function_that_is_not_there_or_returns_no_json(bench: Bench, entry: str) -> None:
    found, _ = await bench.end(bench.work(entry))
    assert found == Exit(exit_code=1)


async def test_it_is_taken_back(bench: Bench) -> None:
    made = bench.work("slow", str(bench.folder))
    running = await bench.driver.start(made)
    await until((bench.folder / "began").exists)
    async with asyncio.timeout(DEADLINE_S):
        assert await running.stop("SIGINT", DEADLINE_S) == Exit(signal="SIGTERM")
    (bench.folder / "go").touch()
    assert not (made.folder / "result").exists()


async def test_it_goes_on_without_the_agent(bench: Bench) -> None:
    made = bench.work("slow", str(bench.folder))
    running = await bench.driver.start(made)
    await until((bench.folder / "began").exists)
    assert await running.usage() is None, "what the waiting program uses would mislead"
    again = await bench.again().adopt(made, {})
    assert again is not None
    (bench.folder / "go").touch()
    async with asyncio.timeout(DEADLINE_S):
        assert await again.wait() == Exit(exit_code=0)
    assert json.loads((made.folder / "result").read_text()) == "slow"


async def test_a_cluster_that_is_lost_is_told(tmp_path: Path) -> None:
    lost = Cluster(tmp_path)
    try:
        bench = Bench(lost.ready(), tmp_path)
        made = bench.work("slow", str(tmp_path))
        running = await bench.driver.start(made)
        await until((tmp_path / "began").exists)
    finally:
        lost.kill()
    async with asyncio.timeout(DEADLINE_S):
        assert await running.wait() == Exit(exit_code=3)
    assert "the cluster has lost it" in made.output.read_text()


async def test_no_scheduler_answers(tmp_path: Path) -> None:
    began_s = time.monotonic()
    driver = DaskDriver(ProcessDriver(tmp_path), "tcp://127.0.0.1:1")
    assert await driver.available() is None, "it may be there when it is needed"
    made = work(tmp_path, DaskSettings(entry="a:b", wait_s=0.5))
    async with asyncio.timeout(DEADLINE_S):
        assert await (await driver.start(made)).wait() == Exit(exit_code=3)
    assert "no scheduler answers" in made.output.read_text()
    assert time.monotonic() - began_s < DEADLINE_S


async def test_without_a_scheduler_it_says_so(tmp_path: Path) -> None:
    driver = DaskDriver(ProcessDriver(tmp_path), None)
    assert await driver.capacity() is None
    with pytest.raises(DriverError) as refused:
        await driver.prepare(work(tmp_path, DaskSettings(entry="a:b")))
    assert (refused.value.code, refused.value.permanent) == ("no_scheduler", True)


@pytest.mark.parametrize("text", ["", "no JSON", "{}", '{"cpu_cores": "x"}', "[]"])
def test_what_is_no_capacity_is_none(text: str) -> None:
    assert read_capacity(text, "tcp://a:1") is None


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({}, "entry"),
        ({"entry": "a:b", "scheduler": "http://a"}, "scheduler"),
        ({"entry": "a:b", "resources": {"GPU": 0}}, "resources"),
        ({"entry": "a:b", "context": "not a name"}, "context"),
    ],
)
def test_bad_settings_are_refused_with_their_place(settings: dict[str, Any], where: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=where):
        msgspec.convert(settings, DaskSettings)
