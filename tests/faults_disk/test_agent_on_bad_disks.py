"""Real agents on bad disks: they live on, wait, and nothing is lost when the disk is well again."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from farshore_edge.outbox.outbox import DIED
from farshore_sim.faults.disk import (
    FULL,
    SYNC_FAILS,
    DiskFault,
    SmallDisk,
    database_paths,
    inject,
    slow,
)
from farshore_sim.faults.errors import FaultError
from system.programs import AgentProgram, CenterProgram, until

pytestmark = pytest.mark.processes

SMALL_BYTES = 2 * 1024 * 1024


class Bench:
    """One agent at a running center, and what the center has of it."""

    def __init__(self, center: CenterProgram, folder: Path, name: str) -> None:
        self.center = center
        self.agent = AgentProgram(folder, name, center.mqtt_port)
        self.ran = folder / f"{name}.ran"
        self.paths = database_paths(self.agent.data / "agent.db")

    def asked(self, query: str) -> list[Any]:
        """Of the agent's database."""
        path = self.agent.data / "agent.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return db.execute(query).fetchall()

    async def books(self) -> dict[str, dict[str, Any]]:
        """Of the epochs that are on its disk: what it said from memory is in others."""
        found = await self.center.get(f"/nodes/{self.agent.name}/streams")
        epochs = dict(self.asked("SELECT name, epoch FROM stream"))
        items = found["items"] if found else []
        return {item["stream"]: item for item in items if epochs[item["stream"]] == item["epoch"]}

    async def accepted(self) -> int:
        metrics = (await self.books()).get("metrics")
        return metrics["accepted"] if metrics else 0

    async def arrived(self) -> None:
        """Metrics that are on the disk have arrived."""
        ((head,),) = self.asked("SELECT head FROM stream WHERE name = 'metrics'")

        async def look() -> bool:
            return bool(await self.accepted() >= head)

        await until(look, f"{head} records of {self.agent.name} on its disk")

    async def all_numbered(self) -> bool:
        """Whether the disk has given out every number that the center has of its metrics; in memory may be
        what is sent under a number that it has reserved."""
        known = (await self.books())["metrics"]["head"]
        ((counted,),) = self.asked(
            "SELECT max(head, reserved, coalesce((SELECT max(seq) FROM record "
            "WHERE stream = name), 0)) FROM stream WHERE name = 'metrics'"
        )
        return bool(0 < known <= counted)

    async def at_work(self) -> None:
        self.agent.start()
        await self.center.online(self.agent.name)
        await self.more(1)

    async def more(self, records: int) -> None:
        before = await self.accepted()

        async def look() -> bool:
            return await self.accepted() >= before + records

        await until(look, f"{records} more records of {self.agent.name}")

    async def command(self) -> str:
        line = f"echo once >> {self.ran}"
        argv = {"argv": ["sh", "-c", line]}
        made = await self.center.command(self.agent.name, "exec", argv, ttl_s=60)
        return str(made["id"])

    async def refused(self, command: str) -> None:
        """What the ledger could not hold was not done."""
        view = await self.center.done(command)
        (target,) = view["targets"]
        assert (target["state"], target["error"]["code"]) == ("rejected", "ledger_unwritable")
        assert not self.ran.exists()

    async def all_there(self, command: str, *, died: bool = False) -> None:
        """Nothing is missing, nothing came under another's seq, the command took effect once.

        ``died``: metrics that were in memory alone are declared, and nothing else is.
        """
        view = await self.center.done(command)
        assert view["summary"] == {"succeeded": 1}, self.agent.text()
        assert self.ran.read_text() == "once\n"
        for stream, book in (await self.books()).items():
            lost = book["lost_records"]
            assert book["accepted"] + lost == book["head"], (stream, book)
            assert book["holes"] == [], (stream, book)
            assert lost == 0 or (died and stream == "metrics"), (stream, book)
            assert {line["reason"] for line in book["lost"]} <= {DIED}, (stream, book)


@pytest.fixture
async def center(tmp_path: Path) -> AsyncIterator[CenterProgram]:
    center = CenterProgram(tmp_path)
    center.start()
    await center.ready()
    yield center
    center.end()
    await center.http.aclose()


@contextmanager
def ended(bench: Bench) -> Iterator[None]:
    try:
        yield
    finally:
        if bench.agent.process is not None:
            bench.agent.kill()


async def refused_for_a_while(bench: Bench, fault: DiskFault | None) -> None:
    """``fault``; without one a disk that is really full."""
    async with AsyncExitStack() as stack:
        small = None if fault else stack.enter_context(SmallDisk(bench.agent.data, SMALL_BYTES))
        stack.enter_context(ended(bench))
        await bench.at_work()
        process = bench.agent.process
        assert process is not None
        async with AsyncExitStack() as bad:
            if fault is not None:
                met = await bad.enter_async_context(inject(process.pid, fault, paths=bench.paths))
            elif small is not None:
                small.fill()
                bad.callback(small.free)
            command = await bench.command()
            await until(lambda: "can't be written" in bench.agent.text(), "a failed write")
            await bench.arrived()
            await until(lambda: "outbox can't be written" in bench.agent.text(), "a failed record")
            assert process.poll() is None, bench.agent.text()
            assert await bench.all_numbered(), "nothing is sent that the disk may give to another"
            assert fault is None or met.met() > 0
        await bench.refused(command)
        await bench.more(3)
        await bench.all_there(await bench.command())
        assert bench.agent.end() == 0, bench.agent.text()


async def slow_for_a_while(bench: Bench) -> None:
    with ended(bench):
        await bench.at_work()
        process = bench.agent.process
        assert process is not None
        async with inject(process.pid, slow(0.15), paths=bench.paths) as injection:
            command = await bench.command()
            await bench.more(2)
            await until(lambda: injection.met() > 3, "more calls that are slow")
        await bench.all_there(command)
        assert bench.agent.end() == 0


async def killed_while_syncs_fail(bench: Bench) -> None:
    with ended(bench):
        await bench.at_work()
        epoch = (await bench.books())["metrics"]["epoch"]
        process = bench.agent.process
        assert process is not None
        async with inject(process.pid, SYNC_FAILS, paths=bench.paths):
            await until(lambda: "outbox can't be written" in bench.agent.text(), "a failed write")
            bench.agent.kill()
        await bench.at_work()
        command = await bench.command()
        await bench.all_there(command, died=True)
        assert (await bench.books())["metrics"]["epoch"] == epoch
        assert bench.agent.end() == 0


async def test_agents_live_through_bad_disks_and_lose_nothing(
    center: CenterProgram, tmp_path: Path
) -> None:
    """All at once: most of the time of each is waiting."""

    def bench(name: str) -> Bench:
        return Bench(center, tmp_path, name)

    stories = {
        "writes fail": refused_for_a_while(bench("full"), FULL),
        "syncs fail": refused_for_a_while(bench("sync"), SYNC_FAILS),
        "slow": slow_for_a_while(bench("slow")),
        "killed while syncs fail": killed_while_syncs_fail(bench("killed")),
    }
    try:
        with SmallDisk(tmp_path / "probe", SMALL_BYTES):
            pass
    except FaultError:
        pass  # mounting is not allowed here; the injected error stands for it
    else:
        stories["really full"] = refused_for_a_while(bench("small"), None)
    ends = await asyncio.gather(*stories.values(), return_exceptions=True)
    assert dict(zip(stories, ends, strict=True)) == dict.fromkeys(stories)
