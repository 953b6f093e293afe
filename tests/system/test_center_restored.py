"""A center that goes on from a backup: nodes that are ahead tell it, nothing disappears without a
line, nothing is there twice, no command is executed twice, and a person decides how to go on."""

import collections
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from system.programs import BIN, AgentProgram, CenterProgram, until
from system.test_center_killed import at_the_agent, stored_once

pytestmark = pytest.mark.processes

MakeCenter = Callable[..., CenterProgram]
MakeAgent = Callable[[str, int], AgentProgram]

LOST = "acknowledged to a center that was restored since"


def back_up(center: CenterProgram, to: Path) -> None:
    argv = [str(BIN / "farshore-center"), "backup", "--data", str(center.data), "--to", str(to)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr


def replace_database(center: CenterProgram, copy: Path) -> None:
    """As a person who knows of no command for it."""
    shutil.rmtree(center.data)
    center.data.mkdir()
    shutil.copy(copy, center.data / "center.db")


def put_back(center: CenterProgram, copy: Path) -> None:
    shutil.rmtree(center.data)
    argv = [str(BIN / "farshore-center"), "restore", "--from", str(copy), "--data"]
    done = subprocess.run([*argv, str(center.data)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr


async def accepted(center: CenterProgram, node: str) -> int:
    items = (await center.get(f"/nodes/{node}/streams") or {"items": []})["items"]
    return sum(item["accepted"] for item in items if item["stream"] == "metrics")


async def more_accepted(center: CenterProgram, node: str, by: int) -> None:
    before = await accepted(center, node)

    async def look() -> bool:
        return await accepted(center, node) >= before + by

    await until(look, f"{by} more records of {node}")


async def restored(center: CenterProgram, *ahead: str) -> dict[str, Any]:
    async def look() -> Any:
        found = await center.get("/center")
        here = {each["node"] for each in found["nodes_ahead"]}
        return found if found["state"] == "restored" and here >= set(ahead) else None

    found: dict[str, Any] = await until(look, "the center's word that it was restored")
    return found


def appending(journal: Path, word: str) -> dict[str, Any]:
    return {"argv": [sys.executable, "-S", "-c", f"open({str(journal)!r},'a').write('{word}\\n')"]}


def waiting_for(file: Path) -> dict[str, Any]:
    wait = f"import os, time\nwhile not os.path.exists({str(file)!r}): time.sleep(0.05)"
    return {"argv": [sys.executable, "-S", "-c", wait]}


async def in_state(center: CenterProgram, command: str, state: str) -> None:
    async def look() -> bool:
        summary: dict[str, int] = (await center.get(f"/commands/{command}"))["summary"]
        return set(summary) == {state}

    await until(look, f"{command} to be {state}")


async def add_up(center: CenterProgram, agent: AgentProgram) -> dict[str, int]:
    """accepted ∪ lost == 1..head, with the right reason; how many were lost, by stream."""
    epochs = at_the_agent(agent)

    async def whole() -> Any:
        items = (await center.get(f"/nodes/{agent.name}/streams"))["items"]
        books = {item["stream"]: item for item in items if item["current"]}
        ends = all(
            books[stream]["head"] == head and books[stream]["holes"] == []
            for stream, (_, head) in epochs.items()
            if head
        )
        return books if ends else None

    books = await until(whole, f"whole books of {agent.name}", within_s=30)
    for stream, (epoch, head) in epochs.items():
        if not head:
            continue
        book = books[stream]
        assert book["epoch"] == epoch
        assert book["accepted"] + book["lost_records"] == head
        assert {line["reason"] for line in book["lost"]} <= {LOST}, book
    return {stream: book["lost_records"] for stream, book in books.items()}


@pytest.mark.parametrize("way", [replace_database, put_back], ids=["by-nodes", "by-a-person"])
async def test_a_restored_center(
    make_center: MakeCenter,
    make_agent: MakeAgent,
    tmp_path: Path,
    way: Callable[[CenterProgram, Path], None],
) -> None:
    center = make_center()
    await center.ready()
    agents = {name: make_agent(name, center.mqtt_port) for name in ("pi-1", "pi-2", "pi-3")}
    await center.online(*agents)
    await more_accepted(center, "pi-1", 3)
    assert agents["pi-3"].end() == 0
    await center.offline("pi-3")  # or the command is sent to nobody
    journal = tmp_path / "journal"
    queued = await center.command("pi-3", "exec", appending(journal, "queued"), ttl_s=600)
    go_on = tmp_path / "go-on"
    running = await center.command("pi-2", "exec", waiting_for(go_on), ttl_s=600)
    await in_state(center, running["id"], "running")
    back_up(center, tmp_path / "backup.db")

    # The future that will be lost: records, a command of its own, and the one that was queued.
    agents["pi-3"].start()
    await center.done(queued["id"])
    go_on.touch()
    await center.done(running["id"])
    own = await center.command("pi-1", "exec", appending(journal, "own"), ttl_s=600)
    await center.done(own["id"])
    await more_accepted(center, "pi-1", 4)
    await more_accepted(center, "pi-2", 1)
    assert agents["pi-3"].end() == 0
    center.kill()
    way(center, tmp_path / "backup.db")
    center.start()
    await center.ready()

    found = await restored(center, "pi-1", "pi-2")
    assert found["held_commands"] == 1
    assert any(former["generation"] is not None for former in found["former"])
    events = (await center.get("/events", kind="center.*"))["items"]
    assert [event["kind"] for event in events].count("center.restored") == 1
    assert "farshore_center_restored 1.0" in (await center.http.get("/metrics")).text

    # What was queued waits for a person, also when its node is there.
    agents["pi-3"].start()
    await center.online("pi-3")
    await restored(center, "pi-3")
    fresh = await center.command("pi-3", "ping", ttl_s=60)
    await center.done(fresh["id"])
    target = (await center.get(f"/commands/{queued['id']}"))["targets"][0]
    assert (target["state"], target["held"]) == ("queued", True)
    answer = (await center.http.post("/api/v1/center/resume")).json()
    assert (answer["released_commands"], answer["state"]) == (1, "normal")
    done = await center.done(queued["id"])
    assert done["summary"] == {"succeeded": 1}, "the node answers with what it has recorded"
    assert collections.Counter(journal.read_text().split()) == {"queued": 1, "own": 1}

    # Only the lost future had heard how this one ended; its node is asked, and tells.
    done = await center.done(running["id"])
    assert done["summary"] == {"succeeded": 1}

    lost = {}
    for agent in agents.values():
        assert agent.end() == 0, agent.text()
        lost[agent.name] = await add_up(center, agent)
    assert lost["pi-1"]["metrics"] >= 4
    await stored_once(center, list(agents.values()))
    assert (await center.get("/center"))["state"] == "normal"
    assert center.end() == 0


async def test_two_restores_in_a_row_and_a_node_that_was_away(
    make_center: MakeCenter, make_agent: MakeAgent, tmp_path: Path
) -> None:
    center = make_center()
    await center.ready()
    agents = {name: make_agent(name, center.mqtt_port) for name in ("pi-1", "pi-2")}
    await center.online(*agents)
    await more_accepted(center, "pi-1", 2)
    back_up(center, tmp_path / "backup.db")
    await more_accepted(center, "pi-1", 2)
    await more_accepted(center, "pi-2", 2)
    assert agents["pi-2"].end() == 0
    for _ in range(2):
        center.kill()
        replace_database(center, tmp_path / "backup.db")
        center.start()
        await center.ready()
        found = await restored(center, "pi-1")
        assert found["state"] == "restored"
        assert (await center.http.post("/api/v1/center/resume")).status_code == 200
        await more_accepted(center, "pi-1", 2)

    agents["pi-2"].start()
    await center.online("pi-2")

    async def late() -> bool:
        found = await center.get("/center")
        return "pi-2" in {each["node"] for each in found["nodes_ahead"]}

    await until(late, "the late node's word")
    found = await center.get("/center")
    assert found["state"] == "normal", "it tells of the restore that a person knows"
    for agent in agents.values():
        assert agent.end() == 0, agent.text()
        assert (await add_up(center, agent))["metrics"] >= 2
    await stored_once(center, list(agents.values()))


async def test_a_center_that_was_not_restored_never_thinks_so(
    make_center: MakeCenter, make_agent: MakeAgent
) -> None:
    """However often it, or a node, is killed."""
    center = make_center()
    await center.ready()
    agents = [make_agent(name, center.mqtt_port) for name in ("pi-1", "pi-2")]
    await center.online("pi-1", "pi-2")
    for turn in range(8):
        await more_accepted(center, f"pi-{1 + turn % 2}", 1)
        if turn % 3 == 2:
            agents[0].kill()
            agents[0].start()
        if turn % 4 == 3:
            assert center.end() == 0
        else:
            center.kill()
        center.start()
        await center.ready()
    await more_accepted(center, "pi-1", 1)
    found = await center.get("/center")
    assert (found["state"], found["nodes_ahead"], found["former"]) == ("normal", [], [])
    assert found["generation"] > 8
    assert (await center.get("/events", kind="center.*"))["items"] == []
