"""Real agents that find no disk at their start: they go on from memory, and become durable."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from farshore_edge.outbox.outbox import DIED
from farshore_sim.faults.disk import SmallDisk
from farshore_sim.faults.errors import FaultError
from system.programs import AgentProgram, CenterProgram, until

pytestmark = pytest.mark.processes

SMALL_BYTES = 2 * 1024 * 1024
WELL = "the outbox can be written again"


class Late:
    """One agent whose disk is bad at its start, and what the center has of it."""

    def __init__(self, center: CenterProgram, folder: Path, name: str) -> None:
        self.center = center
        self.agent = AgentProgram(folder, name, center.mqtt_port)
        self.ran = folder / f"{name}.ran"

    async def books(self) -> dict[tuple[str, str], dict[str, Any]]:
        found = await self.center.get(f"/nodes/{self.agent.name}/streams")
        return {(item["stream"], item["epoch"]): item for item in (found or {"items": []})["items"]}

    async def accepted(self) -> dict[str, int]:
        """Metrics, by epoch."""
        books = await self.books()
        return {
            epoch: book["accepted"] for (name, epoch), book in books.items() if name == "metrics"
        }

    async def exec(self) -> dict[str, Any]:
        argv = {"argv": ["sh", "-c", f"echo once >> {self.ran}"]}
        made = await self.center.command(self.agent.name, "exec", argv, ttl_s=60)
        view = await self.center.done(made["id"])
        return dict(view["targets"][0])

    async def from_memory(self, known: set[str]) -> str:
        """It is there, says what it measures, answers what only asks, and changes nothing."""
        await self.center.online(self.agent.name)

        async def look() -> list[str]:
            return [
                epoch
                for epoch, count in (await self.accepted()).items()
                if epoch not in known and count >= 3
            ]

        (epoch,) = await until(look, "metrics from memory")
        pinged = await self.center.command(self.agent.name, "ping")
        assert (await self.center.done(pinged["id"]))["summary"] == {"succeeded": 1}
        refused = await self.exec()
        assert (refused["state"], refused["error"]["code"]) == ("rejected", "ledger_unwritable")
        assert not self.ran.exists()
        process = self.agent.process
        assert process is not None
        assert process.poll() is None, self.agent.text()
        assert WELL not in self.agent.text()
        return str(epoch)

    async def durable(self, volatile: str, expected: str | None = None) -> None:
        """By itself, in the epoch of the disk; what was said from memory stays, once each."""
        await until(lambda: WELL in self.agent.text(), "a disk that is written again")

        async def look() -> list[str]:
            return [
                epoch
                for epoch, count in (await self.accepted()).items()
                if epoch != volatile and count >= 3
            ]

        epochs = await until(look, "metrics of the disk's epoch")
        assert expected is None or epochs == [expected]
        assert (await self.exec())["state"] == "succeeded", self.agent.text()
        assert self.ran.read_text() == "once\n"
        await self.told()
        assert self.agent.end() == 0, self.agent.text()
        for key, book in (await self.books()).items():
            assert book["accepted"] + book["lost_records"] == book["head"], (key, book)
            assert book["holes"] == [], (key, book)
            # Where it was killed before: what was in memory alone then.
            may_lose = {DIED} if key == ("metrics", expected) else set()
            assert {line["reason"] for line in book["lost"]} <= may_lose, (key, book)

    async def told(self) -> None:
        async def look() -> list[dict[str, Any]]:
            found = await self.center.get("/events", node=self.agent.name)
            return [item for item in found["items"] if "outbox" in str(item)]

        (event,) = await until(look, "the event of the outage's end")
        assert "recovered" in str(event)


@contextmanager
def ended(late: Late) -> Iterator[None]:
    try:
        yield
    finally:
        if late.agent.process is not None:
            late.agent.kill()


async def full(late: Late) -> None:
    with SmallDisk(late.agent.data, SMALL_BYTES) as disk, ended(late):
        disk.fill()
        late.agent.start()
        volatile = await late.from_memory(set())
        disk.free()
        await late.durable(volatile)


async def read_only_with_a_backlog(late: Late) -> None:
    """What the disk holds is neither forgotten nor given out again."""
    with SmallDisk(late.agent.data, SMALL_BYTES) as disk, ended(late):
        late.agent.start()
        await late.center.online(late.agent.name)
        (epoch,) = await until(late.accepted, "metrics of the disk's epoch")
        late.agent.kill()
        disk.read_only()
        late.agent.start()
        volatile = await late.from_memory({epoch})
        disk.read_only(on=False)
        await late.durable(volatile, expected=epoch)


async def no_folder(late: Late) -> None:
    """A file stands where the data folder is to be."""
    late.agent.data.write_text("in the way")
    with ended(late):
        late.agent.start()
        volatile = await late.from_memory(set())
        late.agent.data.unlink()
        await late.durable(volatile)
    assert (late.agent.data / "agent.db").is_file()


async def test_an_agent_without_a_disk_starts_in_memory_and_becomes_durable_by_itself(
    tmp_path: Path,
) -> None:
    stories = {"no folder": no_folder}
    try:
        with SmallDisk(tmp_path / "probe", SMALL_BYTES):
            pass
    except FaultError:
        pass  # mounting is not allowed here; the folder that can't be made stands for it
    else:
        stories |= {"full": full, "read-only": read_only_with_a_backlog}
    center = CenterProgram(tmp_path)
    with ExitStack() as stack:
        center.start()
        stack.callback(lambda: center.end())
        await center.ready()
        ends = await asyncio.gather(
            *(
                story(Late(center, tmp_path, name.replace(" ", "-")))
                for name, story in stories.items()
            ),
            return_exceptions=True,
        )
        await center.http.aclose()
    assert dict(zip(stories, ends, strict=True)) == dict.fromkeys(stories)
