"""Agent and center die exactly at a chosen call; started again, the books add up."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest
from farshore_sim.faults.disk import database_paths
from farshore_sim.faults.errors import FaultError
from farshore_sim.faults.kills import KillPoint, armed, killed_argv, points
from faults_link.linked import Linked, linked, together
from system.programs import CenterProgram, Program

pytestmark = pytest.mark.processes

WITHIN_S = 20.0
LANES = 4
"""Agents that die at the same time, each at its own points."""

WRITER = """
import os, sys
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for number in range(10):
    os.write(out, b"%d" % number)
    os.fdatasync(out)
    print(number, flush=True)
"""


def started(argv: list[str], said: Path) -> subprocess.Popen[bytes]:
    with said.open("wb") as out:
        return subprocess.Popen(argv, stdout=out)


@pytest.mark.parametrize(
    ("point", "written", "said"),
    [
        (KillPoint(call="write", nth=4), b"012", "0 1 2"),
        (KillPoint(call="write", nth=4, after=True), b"0123", "0 1 2"),
        (KillPoint(call="fdatasync", nth=4), b"0123", "0 1 2"),
        (KillPoint(call="fdatasync", nth=4, after=True), b"0123", "0 1 2"),
    ],
    ids=str,
)
async def test_a_process_dies_before_or_after_exactly_this_call(
    tmp_path: Path, point: KillPoint, written: bytes, said: str
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    argv, death = killed_argv(
        [sys.executable, "-S", "-c", WRITER, str(out)], point, log=log, paths=[out]
    )
    process = started(argv, tmp_path / "said")
    try:
        await death.came(process.pid, WITHIN_S)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert out.read_bytes() == written
    assert (tmp_path / "said").read_text().split() == said.split()


async def test_a_point_that_is_never_reached_is_told(tmp_path: Path) -> None:
    point = KillPoint(call="fdatasync", nth=99)
    argv, death = killed_argv(
        [sys.executable, "-S", "-c", WRITER, str(tmp_path / "out")], point, log=tmp_path / "log"
    )
    process = started(argv, tmp_path / "said")
    with pytest.raises(FaultError, match="before it came to before fdatasync 99"):
        await death.came(process.pid, WITHIN_S)
    process.wait()


async def commanding(node: Linked) -> None:
    """Commands, each of which the agent has to write down; the center may be dead meanwhile."""
    while True:
        with contextlib.suppress(httpx.TransportError):
            await node.give()
        await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def kept_busy(*nodes: Linked) -> AsyncIterator[None]:
    busy = [asyncio.create_task(commanding(node)) for node in nodes]
    try:
        yield
    finally:
        for task in busy:
            task.cancel()
        ends = await asyncio.gather(*busy, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


async def die(program: Program, point: KillPoint, database: Path) -> None:
    assert program.process is not None
    async with armed(program.process.pid, point, paths=database_paths(database)) as death:
        await death.came(program.process.pid, WITHIN_S)
    assert program.wait() == -signal.SIGKILL


async def agent_dies_at(node: Linked, chosen: Sequence[KillPoint]) -> None:
    """Each time after it has connected: the calls are counted from there."""
    await node.at_work()
    for point in chosen:
        async with kept_busy(node):
            await die(node.agent, point, node.agent.data / "agent.db")
            node.agent.start()
            await node.more(1)
    await node.all_done(uninterrupted=False)
    await node.complete(killed=True)


async def agents_die(center: CenterProgram, folder: Path, chosen: Sequence[KillPoint]) -> None:
    """Some agents at the same time, each at its share of the points."""

    async def lane(number: int) -> None:
        async with linked(center, folder, f"pi-{number}") as node:
            await agent_dies_at(node, chosen[number::LANES])

    await together(**{f"lane {number}": lane(number) for number in range(LANES)})


async def center_dies(center: CenterProgram, folder: Path, chosen: Sequence[KillPoint]) -> None:
    async with linked(center, folder, "pi-1") as one, linked(center, folder, "pi-2") as two:
        nodes = (one, two)
        await asyncio.gather(*(node.at_work() for node in nodes))
        for point in chosen:
            async with kept_busy(*nodes):
                await die(center, point, center.data / "center.db")
                center.start()
                await center.ready()
                await asyncio.gather(*(node.more(1) for node in nodes))
        for node in nodes:
            await node.all_done()
            await node.complete(killed=True)


async def test_an_agent_dies_at_each_of_its_first_twelve_syncs(
    center: CenterProgram, tmp_path: Path
) -> None:
    await agents_die(center, tmp_path, list(points("fdatasync", 12)))


async def test_an_agent_dies_at_writes_to_its_database(
    center: CenterProgram, tmp_path: Path
) -> None:
    await agents_die(center, tmp_path, list(points("pwrite64", 7, every=6)))


async def test_the_center_dies_at_chosen_syncs(center: CenterProgram, tmp_path: Path) -> None:
    chosen = [KillPoint(nth=2), KillPoint(nth=5, after=True)]
    await center_dies(center, tmp_path, chosen)
