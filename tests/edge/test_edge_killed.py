"""An agent that is killed while metrics are in memory, and a real center whose books add up."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from edge.edge_bench import eventually
from edge.test_edge_process import Agents
from farshore_protocol.stream import RangeSet
from ports import free_port

pytestmark = pytest.mark.processes

FLAGS = ("--sample-interval-s", "0.1", "--batch-s", "0.1", "--backoff-max-s", "0.2")
MEMORY_FIRST = ("--spill-after-s", "30")


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[Agents]:
    made = Agents(tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.wait()


def _center(agents: Agents, mqtt: int) -> subprocess.Popen[bytes]:
    argv = [str(Path(sys.executable).with_name("farshore-center")), "run", "--dev"]
    argv += ["--data", str(agents.data / "center"), "--http", f"127.0.0.1:{free_port()}"]
    argv += ["--mqtt", f"127.0.0.1:{mqtt}"]
    with agents.log.open("ab") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    agents.started.append(process)
    return process


def _books(agents: Agents) -> dict[str, tuple[RangeSet, RangeSet, int]]:
    """Stream → accepted, lost and head at the center."""
    [path] = (agents.data / "center").glob("*.db")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT stream, accepted, lost, head FROM stream_book")
        return {
            stream: (RangeSet(orjson.loads(accepted)), RangeSet(orjson.loads(lost)), head)
            for stream, accepted, lost, head in rows
        }


def _settled(book: tuple[RangeSet, RangeSet, int]) -> list[tuple[int, int]]:
    both = book[0].copy()
    both.update(book[1])
    return both.pairs()


def _metrics(agents: Agents) -> Any:
    try:
        return _books(agents).get("metrics")
    except (ValueError, sqlite3.Error):  # the tables are being made
        return None


def _is_made(agents: Agents) -> bool:
    return (agents.data / "center" / "center.db").exists()


async def _one_life(agents: Agents, mqtt: int) -> subprocess.Popen[bytes]:
    """An agent that has been heard by the center for a while: what is new goes from memory."""
    book = _metrics(agents)
    head = book[2] if book is not None else 0
    agent = agents.start(mqtt, *FLAGS, *MEMORY_FIRST)
    await eventually(
        lambda: (_metrics(agents) or (RangeSet(), None, 0))[0].last >= head + 25, deadline_s=40
    )
    return agent


async def test_after_kill_9_the_books_at_the_center_add_up_and_little_is_lost(
    agents: Agents,
) -> None:
    mqtt = free_port()
    _center(agents, mqtt)
    await eventually(lambda: _metrics(agents) is not None or _is_made(agents), deadline_s=30)
    for _ in range(3):
        agent = await _one_life(agents, mqtt)
        agent.kill()
        await asyncio.to_thread(agent.wait)
    last = await _one_life(agents, mqtt)
    [(declared, lives)] = agents.rows(
        "SELECT sum(last - first + 1), count(*) FROM loss WHERE reason LIKE 'agent died%'"
    )
    last.terminate()
    assert await asyncio.to_thread(last.wait) == 0
    books = _books(agents)
    for stream in ("metrics", "events", "reports"):
        assert _settled(books[stream]) == [(1, books[stream][2])], stream
    accepted, missing, head = books["metrics"]
    assert 1 <= lives <= 3, "one that had only just begun had nothing in memory"
    assert 0 < len(missing) <= declared <= lives * 64, "at most a block for each life"
    assert len(accepted) + len(missing) == head
    assert (
        head == agents.rows("SELECT max(head, reserved) FROM stream WHERE name = 'metrics'")[0][0]
    )
