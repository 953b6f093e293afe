"""A container with a lease whose agent is dead ends with it, by its keeper."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from farshore_edge.tasks.drivers.container.driver import ContainerDriver
from farshore_edge.tasks.drivers.container.keeper import read_lease
from farshore_edge.tasks.drivers.model import Exit
from hypothesis import given
from hypothesis import strategies as st
from task_drivers.container_bench import DEADLINE_S, Bench
from task_drivers.podman import Podman
from task_drivers.rigs import living


@pytest.fixture
async def bench(engine: Podman, tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(engine, tmp_path)
    yield made
    await ContainerDriver(tmp_path, [engine.socket]).sweep(frozenset())


def lease_of(folder: Path, stop_s: float, kill_s: float) -> Path:
    """Seconds from now."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    staged = folder / "lease.new"
    staged.write_text(f"{boot} {now_s + stop_s} {now_s + kill_s} {now_s + kill_s}\n")
    return staged.rename(folder / "lease")


async def test_it_ends_with_its_lease_where_no_agent_lives(bench: Bench) -> None:
    lease = lease_of(bench.folder, 600, 600)
    deaf = replace(bench.work("trap '' TERM; echo up; while :; do sleep 0.1; done"), lease=lease)
    running = await bench.driver.start(deaf)
    # Renewed once, then never again: what is left is short.
    lease_of(bench.folder, 0.5, 1.5)
    began_s = time.monotonic()
    async with asyncio.timeout(DEADLINE_S):
        assert await running.wait() == Exit(signal="SIGKILL")
    assert time.monotonic() - began_s >= 1.4, "not before its end"


async def test_it_is_asked_first(bench: Bench) -> None:
    lease = lease_of(bench.folder, 0.2, 600)
    made = bench.work("trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done")
    running = await bench.driver.start(replace(made, lease=lease))
    async with asyncio.timeout(DEADLINE_S):
        assert await running.wait() == Exit(exit_code=3)


async def test_it_ends_with_its_lease_also_without_an_engine(bench: Bench) -> None:
    lease = lease_of(bench.folder, 600, 600)
    mark = f"5{time.monotonic_ns() % 10**9}"
    made = replace(bench.work(f"exec sleep {mark}"), lease=lease)
    running = await bench.driver.start(made)
    bench.engine.kill_service()
    try:
        lease.unlink()
        async with asyncio.timeout(DEADLINE_S):
            while living(mark):  # noqa: ASYNC110 # it is nobody's child here
                await asyncio.sleep(0.05)
    finally:
        await asyncio.to_thread(bench.engine.serve)
    async with asyncio.timeout(DEADLINE_S):
        assert (await running.wait()).signal == "SIGKILL"


async def test_one_keeper_is_enough(bench: Bench) -> None:
    made = replace(bench.work("sleep 600"), lease=lease_of(bench.folder, 600, 600))
    running = await bench.driver.start(made)
    for _ in range(2):
        assert await bench.driver.adopt(made, {}) is not None
    assert len(living(str(made.lease))) == 1
    await running.stop("SIGTERM", 0)
    async with asyncio.timeout(DEADLINE_S):
        while living(str(made.lease)):  # noqa: ASYNC110 # it is nobody's child here
            await asyncio.sleep(0.05)


@given(st.text())
def test_a_lease_that_can_t_be_read_is_over(text: str) -> None:
    assert read_lease(text, "boot") == (0.0, 0.0) or text.split()[0] == "boot"
    assert read_lease("boot 1.5 2.5 3\n", "boot") == (1.5, 2.5)
    assert read_lease("other 1.5 2.5 3\n", "boot") == (0.0, 0.0)
