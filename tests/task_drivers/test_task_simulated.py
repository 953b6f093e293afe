"""The driver of simulated nodes keeps the contract as far as it has no programs."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from farshore_edge.tasks.drivers.model import DriverError, Exit, Running, Work
from farshore_sim.fleet.task_programs import SimulatedSettings
from farshore_sim.fleet.tasks import SimulatedDriver, Workshop
from task_drivers.rigs import work

DEADLINE_S = 30.0


class Case:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workshop = Workshop(lambda: asyncio.get_running_loop().time())
        self.driver = SimulatedDriver(self.workshop)

    async def start(self, id: str = "suite.0.7", **run: Any) -> tuple[Running, Work]:
        made = work(self.folder, SimulatedSettings(**run), id=id)
        await self.driver.prepare(made)
        await self.driver.prepare(made)
        return await self.driver.start(made), made

    def again(self) -> SimulatedDriver:
        return SimulatedDriver(self.workshop)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


@pytest.mark.parametrize("code", [0, 7])
async def test_the_exit_code_is_told(case: Case, code: int) -> None:
    running, _ = await case.start(run_s=0.01, exit_code=code)
    async with asyncio.timeout(DEADLINE_S):
        assert await running.wait() == Exit(exit_code=code)
        assert await running.stop("SIGTERM", 1) == Exit(exit_code=code), "it has ended already"


async def test_it_ends_when_it_is_asked_and_is_killed_after_the_grace(case: Case) -> None:
    running, _ = await case.start()
    assert await running.stop("SIGINT", 1) == Exit(signal="SIGINT")
    running, _ = await case.start(stop_s=60.0)
    async with asyncio.timeout(DEADLINE_S):
        assert await running.stop("SIGTERM", 0.05) == Exit(signal="SIGKILL")


async def test_waiting_may_be_given_up_and_begun_again(case: Case) -> None:
    running, _ = await case.start()
    waiting = asyncio.create_task(running.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    both = asyncio.gather(running.wait(), running.wait())
    await running.stop("SIGTERM", 1)
    async with asyncio.timeout(DEADLINE_S):
        assert tuple(await both) == (Exit(signal="SIGTERM"), Exit(signal="SIGTERM"))


async def test_it_is_taken_up_swept_and_removed(case: Case) -> None:
    _, kept = await case.start()
    unwanted, other = await case.start("other.0.7")
    again = await case.again().adopt(kept, {})
    assert again is not None
    assert await case.again().sweep(frozenset({kept.id})) == [other.id]
    async with asyncio.timeout(DEADLINE_S):
        assert (await unwanted.wait()).signal == "SIGKILL"
    assert await again.stop("SIGTERM", 1) == Exit(signal="SIGTERM")
    await case.driver.remove(kept)
    assert await case.again().adopt(kept, {}) is None


@pytest.mark.parametrize("fails", ["prepare", "start"])
async def test_what_can_t_be_done_is_a_driver_error(case: Case, fails: str) -> None:
    with pytest.raises(DriverError):
        await case.start(fails=fails)
    made = work(case.folder, SimulatedSettings())
    assert await case.again().adopt(made, {}) is None
