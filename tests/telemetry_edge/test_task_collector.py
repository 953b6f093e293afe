"""What the instances of tasks use."""

from __future__ import annotations

import asyncio

import pytest
from farshore_edge.tasks.drivers.model import Usage
from farshore_edge.telemetry.collectors.catalogue import entry_of
from farshore_edge.telemetry.collectors.task import TASKS_MAX, TaskCollector, Using


class Run:
    """Uses what it is told to."""

    def __init__(self, cpu_s: float = 0.0, memory_bytes: int = 0) -> None:
        self.used: Usage | Exception | None = Usage(cpu_s=cpu_s, memory_bytes=memory_bytes)

    async def usage(self) -> Usage | None:
        if isinstance(self.used, Exception):
            raise self.used
        return self.used


class Stage:
    def __init__(self) -> None:
        self.now_s = 100.0
        self.runs: dict[str, Using] = {}
        self.collector = TaskCollector(lambda: self.runs, monotonic_s=lambda: self.now_s)

    async def later(self, seconds: float) -> dict[str, float]:
        self.now_s += seconds
        await self.collector.look()
        return self.collector.sample()


async def test_the_share_of_the_processor_is_between_two_readings() -> None:
    stage, run = Stage(), Run(cpu_s=5.0, memory_bytes=700)
    stage.runs["camera/2"] = run
    assert await stage.later(0) == {"task.mem.bytes{task=camera/2}": 700.0}
    run.used = Usage(cpu_s=20.0, memory_bytes=800)
    sample = await stage.later(10)
    assert sample == {"task.cpu.cores{task=camera/2}": 1.5, "task.mem.bytes{task=camera/2}": 800.0}
    assert stage.collector.sample() == sample, "until it is asked again"
    assert all(entry_of(series) is not None for series in sample)


async def test_another_run_of_the_instance_begins_anew() -> None:
    stage = Stage()
    stage.runs["a/0"] = Run(cpu_s=50.0)
    await stage.later(0)
    stage.runs["a/0"] = Run(cpu_s=1.0)
    assert await stage.later(10) == {"task.mem.bytes{task=a/0}": 0.0}


async def test_what_ended_has_no_series() -> None:
    stage = Stage()
    stage.runs["a/0"] = Run()
    await stage.later(0)
    stage.runs.clear()
    assert await stage.later(10) == {}


async def test_one_that_can_t_be_asked_costs_the_others_nothing() -> None:
    stage, silent, broken = Stage(), Run(), Run()
    silent.used, broken.used = None, RuntimeError("no such driver")
    stage.runs = {"a/0": silent, "b/0": broken, "c/0": Run(memory_bytes=1)}
    assert await stage.later(0) == {"task.mem.bytes{task=c/0}": 1.0}


async def test_one_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hangs:
        async def usage(self) -> Usage | None:
            await asyncio.Event().wait()
            return None

    monkeypatch.setattr("farshore_edge.telemetry.collectors.task.ANSWER_S", 0.2)
    stage = Stage()
    stage.runs = {"a/0": Hangs(), "c/0": Run(memory_bytes=1)}
    async with asyncio.timeout(30):
        assert await stage.later(0) == {"task.mem.bytes{task=c/0}": 1.0}


async def test_there_are_only_so_many_and_the_rest_is_counted() -> None:
    stage = Stage()
    stage.runs = {f"a/{number}": Run() for number in range(TASKS_MAX + 3)}
    sample = await stage.later(0)
    assert len([series for series in sample if series.startswith("task.mem")]) == TASKS_MAX
    assert sample["telemetry.devices_left_out{collector=task}"] == 3
