"""The center, or an agent, is killed at any moment: nothing is missing, nothing is there twice."""

import asyncio
import collections
import contextlib
import random
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from farshore_center.telemetry.inbox import unpack
from farshore_edge.outbox.outbox import DIED
from system.programs import AgentProgram, CenterProgram, until

pytestmark = pytest.mark.processes

NODES = ("pi-1", "pi-2", "pi-3")


class Commander:
    """Goes on giving commands, whether or not there is a center; each appends one line to a file."""

    def __init__(self, center: CenterProgram, folder: Path, rng: random.Random) -> None:
        self._center = center
        self._rng = rng
        self.journal = folder / "journal"
        self.journal.touch()
        self.given: dict[str, str] = {}

    async def run(self) -> None:
        for number in range(10_000):
            script = f"open({str(self.journal)!r}, 'a').write('{number}\\n')"
            body = {
                "node": self._rng.choice(NODES),
                "verb": "exec",
                "args": {"argv": [sys.executable, "-S", "-c", script]},
                "ttl_s": 60,
            }
            try:
                await self._give(number, body)
            except httpx.TransportError:
                await asyncio.sleep(0.05)  # killed in the middle
            await asyncio.sleep(0.15)

    async def _give(self, number: int, body: dict[str, Any]) -> None:
        key = {"Idempotency-Key": f"n{number}"}
        response = await self._center.http.post("/api/v1/commands", json=body, headers=key)
        if response.status_code == 201:
            self.given[response.json()["id"]] = str(number)


async def steady(center: CenterProgram, folder: Path, kill: Callable[[], Any], times: int) -> None:
    """Commands all the while, and ``kill`` at random moments."""
    rng = random.Random(7)
    commander = Commander(center, folder, rng)
    giving = asyncio.create_task(commander.run())
    for _ in range(times):
        await asyncio.sleep(rng.uniform(0.3, 1.5))  # the random moment is what is tested
        await kill()
    giving.cancel()
    await asyncio.gather(giving, return_exceptions=True)
    assert len(commander.given) >= 3
    for command_id in commander.given:
        await center.done(command_id)
    counts = collections.Counter(commander.journal.read_text().split())
    assert set(counts.values()) <= {1}, "no command was executed twice"
    for command_id, number in commander.given.items():
        view = await center.get(f"/commands/{command_id}")
        if view["targets"][0]["state"] == "succeeded":
            assert counts[number] == 1


def at_the_agent(agent: AgentProgram) -> dict[str, tuple[str, int]]:
    """Epoch and head of each stream, from the database that the agent left."""
    (file,) = [path for path in agent.data.iterdir() if path.suffix == ".db"]
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        rows = database.execute("select name, epoch, head from stream")
        return {name: (epoch, head) for name, epoch, head in rows}


async def complete(
    center: CenterProgram, agents: list[AgentProgram], *, killed: AgentProgram | None = None
) -> None:
    """Every number that an agent gave out is accepted, once; of a ``killed`` one, metrics that were
    in memory alone are declared lost."""
    for agent in agents:
        assert agent.end() == 0, agent.text()
        heads = at_the_agent(agent)
        items = (await center.get(f"/nodes/{agent.name}/streams"))["items"]
        books = {item["stream"]: item for item in items}
        for stream, (epoch, head) in heads.items():
            book = books.get(stream)
            if book is None:
                assert head == 0
                continue
            assert (book["epoch"], book["head"], book["holes"]) == (epoch, head, []), (
                f"{agent.name} {stream}: {book}"
            )
            assert book["accepted"] + book["lost_records"] == head
            reasons = {line["reason"] for line in book["lost"]}
            assert reasons <= ({DIED} if agent is killed and stream == "metrics" else set())
        assert heads["metrics"][1] > 2


async def stored_once(center: CenterProgram, agents: list[AgentProgram]) -> None:
    """The stored batches are as many as were accepted, and their samples are what the API gives."""
    path = f"file:{center.data / 'center.db'}?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True)) as database:
        for agent in agents:
            rows = database.execute(
                "select t0_ms, approximate, payload from telemetry_batch where node = ?",
                [agent.name],
            ).fetchall()
            batches = [unpack(t0_ms=t, approximate=bool(a), payload=p) for t, a, p in rows]
            books = (await center.get(f"/nodes/{agent.name}/streams"))["items"]
            (accepted,) = [book["accepted"] for book in books if book["stream"] == "metrics"]
            if accepted < 60:  # none was compacted yet
                assert len(rows) == accepted
            seqs = [orjson.loads(p)["seq"] for _, _, p in rows if p[:1] == b"{"]
            assert len(seqs) == len(set(seqs))
            found = await center.get(
                f"/nodes/{agent.name}/telemetry", **{"from": "-1h", "series": "mem.percent"}
            )
            times = found["series"]["mem.percent"]["t"]
            assert len(times) == len(set(times)), "no sample twice"
            if len(rows) == accepted:
                made = sum(len(batch.series.get("mem.percent", ())) for batch in batches)
                assert len(times) == made


async def test_the_center_is_killed_while_nodes_send(
    make_center: Callable[..., CenterProgram],
    make_agent: Callable[[str, int], AgentProgram],
    tmp_path: Path,
) -> None:
    center = make_center()
    await center.ready()
    agents = [make_agent(name, center.mqtt_port) for name in NODES]
    await center.online(*NODES)

    async def kill() -> None:
        center.kill()
        center.start()
        await center.ready()

    started = time.monotonic()
    await steady(center, tmp_path, kill, 5)
    assert time.monotonic() - started < 60
    await center.online(*NODES)
    await complete(center, agents)
    await stored_once(center, agents)
    assert center.end() == 0


async def test_an_agent_is_killed_while_it_sends(
    make_center: Callable[..., CenterProgram],
    make_agent: Callable[[str, int], AgentProgram],
    tmp_path: Path,
) -> None:
    """Its numbers go on where its database says, so none is given out twice."""
    center = make_center()
    await center.ready()
    agents = [make_agent(name, center.mqtt_port) for name in NODES]
    await center.online(*NODES)

    async def boot() -> Any:
        return (await center.get("/nodes/pi-1"))["boot"]

    async def kill() -> None:
        before = await boot()
        agents[0].kill()
        agents[0].start()

        async def again() -> bool:
            return bool(await boot() != before)

        await until(again, "the next boot")

    await steady(center, tmp_path, kill, 3)
    await center.online(*NODES)
    await complete(center, agents, killed=agents[0])
