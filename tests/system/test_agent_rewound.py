"""An agent whose disk is set back to an older copy: nothing disappears without a line, nothing is
there twice, and no command is executed twice."""

import collections
import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from farshore_edge.outbox.rewind import RENUMBERED
from system.programs import AgentProgram, CenterProgram, until
from system.test_center_killed import at_the_agent
from system.test_center_restored import appending, more_accepted

pytestmark = pytest.mark.processes


def waiting(agent: AgentProgram) -> int:
    """Batches of samples in the outbox."""
    uri = f"file:{agent.data / 'agent.db'}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
        (count,) = database.execute(
            "select count(*) from record where stream = 'metrics'"
        ).fetchone()
        return int(count)


def batches_stored(center: CenterProgram) -> int:
    """By their instants; the same one twice would be a record that is there twice."""
    uri = f"file:{center.data / 'center.db'}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
        instants = [t for (t,) in database.execute("select t0_ms from telemetry_batch")]
    assert len(instants) == len(set(instants))
    return len(instants)


async def test_a_disk_that_is_set_back_to_an_older_copy(
    make_center: Callable[..., CenterProgram],
    make_agent: Callable[[str, int], AgentProgram],
    tmp_path: Path,
) -> None:
    center = make_center()
    await center.ready()
    agent = make_agent("pi-1", center.mqtt_port)
    await center.online("pi-1")
    await more_accepted(center, "pi-1", 3)
    assert agent.end() == 0
    shutil.copytree(agent.data, tmp_path / "copy")
    old = at_the_agent(agent)

    agent.start()
    await center.online("pi-1")
    journal = tmp_path / "journal"
    first = await center.command("pi-1", "exec", appending(journal, "first"), ttl_s=60)
    await center.done(first["id"])
    await more_accepted(center, "pi-1", 6)
    assert agent.end() == 0
    future = at_the_agent(agent)
    shutil.rmtree(agent.data)
    shutil.copytree(tmp_path / "copy", agent.data)

    # Offline at first: what it makes now has the numbers of what the center has.
    assert center.end() == 0
    agent.start()

    def made() -> bool:
        return waiting(agent) > future["metrics"][1] - old["metrics"][1] + 3

    await until(made, "records under numbers that were given out before")
    center.start()
    await center.ready()
    await center.online("pi-1")

    async def turned() -> Any:
        return (await center.get("/events", kind="evt.outbox"))["items"]

    await until(turned, "the node's word that its disk went back")
    second = await center.command("pi-1", "exec", appending(journal, "second"), ttl_s=60)
    done = await center.done(second["id"])
    assert collections.Counter(journal.read_text().split())["first"] == 1, done
    await more_accepted(center, "pi-1", 2)
    assert agent.end() == 0, agent.text()

    new = at_the_agent(agent)
    items = (await center.get("/nodes/pi-1/streams"))["items"]
    books = {(item["stream"], item["epoch"]): item for item in items}
    for stream, (epoch, head) in new.items():
        assert epoch != old[stream][0]
        if head:
            book = books[stream, epoch]
            assert (book["accepted"], book["head"], book["lost_records"]) == (head, head, 0), book
    for stream, (epoch, head) in future.items():
        if head:
            book = books[stream, epoch]
            assert (book["accepted"], book["holes"], book["duplicates"]) == (head, [], 0), book
            assert book["accepted"] + book["lost_records"] == book["head"], book
            # Above it are the numbers of what went on: closed, so that it can't go on twice.
            assert {line["reason"] for line in book["lost"]} <= {RENUMBERED}, book
    accepted = sum(item["accepted"] for item in items if item["stream"] == "metrics")
    assert batches_stored(center) == accepted, "each once, those with doubled numbers too"
    assert center.end() == 0
