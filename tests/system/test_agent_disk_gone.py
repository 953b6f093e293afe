"""An agent whose disk is wiped, or its database damaged: a new epoch, nothing of the old one is counted
anew or twice, and a command that only the old disk knew has an end and no second effect."""

import contextlib
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from farshore_sim.faults.damage import Damage, damage
from system.programs import AgentProgram, CenterProgram, until
from system.test_center_killed import at_the_agent
from system.test_center_restored import in_state, more_accepted

pytestmark = pytest.mark.processes


def wiped(agent: AgentProgram) -> None:
    shutil.rmtree(agent.data)


def damaged(agent: AgentProgram) -> None:
    with contextlib.closing(sqlite3.connect(agent.data / "agent.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damage(agent.data / "agent.db", Damage.EVERY_PAGE, random.Random(1))


async def books(center: CenterProgram) -> dict[tuple[str, str], dict[str, Any]]:
    items = (await center.get("/nodes/pi-1/streams"))["items"]
    return {(item["stream"], item["epoch"]): item for item in items}


@pytest.mark.parametrize("break_it", [wiped, damaged])
async def test_a_disk_that_is_gone(
    make_center: Callable[..., CenterProgram],
    make_agent: Callable[[str, int], AgentProgram],
    tmp_path: Path,
    break_it: Callable[[AgentProgram], None],
) -> None:
    center = make_center()
    await center.ready()
    agent = make_agent("pi-1", center.mqtt_port)
    await center.online("pi-1")
    await more_accepted(center, "pi-1", 3)
    journal = tmp_path / "journal"
    # It outlives the killed agent, and ends with its file, or after a minute.
    script = (
        f"import os, time; open({str(journal)!r}, 'a').write('begun\\n')\n"
        f"for _ in range(600):\n os.path.exists({str(journal)!r}) and time.sleep(0.1)"
    )
    given = await center.command(
        "pi-1", "exec", {"argv": [sys.executable, "-S", "-c", script]}, timeout_s=700
    )
    await in_state(center, given["id"], "running")
    await until(journal.exists, "the effect")
    # An orderly end would tell of the command.
    agent.kill()
    old = at_the_agent(agent)
    break_it(agent)
    agent.start()
    await center.online("pi-1")
    await more_accepted(center, "pi-1", 2)

    done = await center.done(given["id"])
    (target,) = done["targets"]
    assert (target["state"], target["error"]["code"]) == ("interrupted", "ledger_lost")
    assert journal.read_text() == "begun\n"
    journal.unlink()

    assert agent.end() == 0, agent.text()
    new = at_the_agent(agent)
    found = await books(center)
    for stream, (epoch, head) in new.items():
        assert epoch != old[stream][0], "a seq of the old disk must not stand for a new record"
        if head:
            book = found[stream, epoch]
            assert (book["accepted"], book["head"], book["lost_records"]) == (head, head, 0), book
    if break_it is damaged:
        assert list(agent.data.glob("agent.db.broken-*")), "set aside, not deleted"
        events = (await center.get("/events", kind="evt.outbox"))["items"]
        assert "set_aside" in str(events)
    assert center.end() == 0
