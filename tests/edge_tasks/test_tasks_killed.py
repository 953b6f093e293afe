"""The agent is a process that dies; its tasks do not. And nobody else's process is ever touched."""

import os
import signal
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from broker.conftest import bench, make_bench
from broker.workbench import Bench
from edge.edge_bench import eventually
from edge.test_edge_process import Agents, _say, agents
from edge_tasks.task_bench import grant, kill_tasks, leased, of_tasks, with_pid
from farshore_edge.commands.verbs.table import process, processes

__all__ = ["agents", "bench", "make_bench"]

pytestmark = pytest.mark.processes

NOWHERE = 1
"""A port of loopback where nobody listens: there is no center."""


@pytest.fixture(autouse=True)
async def _clean(tmp_path: Path) -> AsyncIterator[None]:
    yield
    kill_tasks(tmp_path)


def kept(agents: Agents, task: str = "web") -> dict[str, Any]:
    rows = agents.rows("SELECT id, body FROM task")
    return next((orjson.loads(body) for name, body in rows if name.startswith(f"{task}.")), {})


async def given(
    agents: Agents, bench: Bench, *grants: dict[str, Any], flags: tuple[str, ...] = ()
) -> subprocess.Popen[bytes]:
    agent = agents.start(bench.broker.port, *flags)
    await eventually(lambda: any(p.topic.endswith("/birth") for p in bench.ingested))
    await _say(bench, "desired/tasks", {"rev": 1, "grants": list(grants)})
    await eventually(lambda: kept(agents).get("state") == "running")
    return agent


async def test_a_killed_agents_task_is_taken_up_and_not_begun_again(
    agents: Agents, bench: Bench, tmp_path: Path
) -> None:
    note = tmp_path / "starts"
    script = f"echo $$ >> {note}; exec sleep 600"
    pause = {"delay_s": 3, "delay_max_s": 3}  # how it ended is kept until it runs again
    agent = await given(agents, bench, grant(argv=["sh", "-c", script], restart=pause))
    pid = kept(agents)["pid"]
    before = of_tasks(tmp_path)
    await agents.ended(agent, signal.SIGKILL)
    assert of_tasks(tmp_path) == before
    agents.start(NOWHERE)
    log = tmp_path / "agent.log"
    await eventually(lambda: "a task is taken up" in log.read_text())
    assert (of_tasks(tmp_path), note.read_text()) == (before, f"{pid}\n")
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: kept(agents)["signal"] == "SIGKILL")
    await eventually(lambda: note.read_text().count("\n") == 2)
    await eventually(lambda: kept(agents)["restarts"] == 1)


async def test_a_run_that_its_agent_had_no_time_to_write_down_is_taken_up(
    agents: Agents, bench: Bench, tmp_path: Path
) -> None:
    """Its books are a quarter of a second behind what it does."""
    note, go = tmp_path / "starts", tmp_path / "go"
    script = f"echo $$ >> {note}; while ! [ -e {go} ]; do sleep 0.02; done"
    once: dict[str, Any] = {"kind": "batch", "restart": {"policy": "never"}}
    agent = await given(agents, bench, grant(argv=["sh", "-c", script], **once))
    await agents.ended(agent, signal.SIGKILL)
    ((name, body),) = agents.rows("SELECT id, body FROM task")
    early = {**orjson.loads(body), "state": "received", "runs": 0, "trace": None, "pid": None}
    with sqlite3.connect(tmp_path / "agent.db") as books:
        books.execute("UPDATE task SET body = ? WHERE id = ?", (orjson.dumps(early), name))
    books.close()
    agents.start(NOWHERE)
    log = tmp_path / "agent.log"
    await eventually(lambda: "a task is taken up" in log.read_text())
    go.touch()
    await eventually(lambda: kept(agents)["state"] == "succeeded")
    assert note.read_text().count("\n") == 1


async def test_how_it_ended_while_no_agent_lived_is_known(
    agents: Agents, bench: Bench, tmp_path: Path
) -> None:
    note = tmp_path / "go"
    script = f"while ! [ -e {note} ]; do sleep 0.02; done; exit 0"
    agent = await given(agents, bench, grant(kind="batch", argv=["sh", "-c", script]))
    await agents.ended(agent, signal.SIGKILL)
    note.touch()
    await eventually(lambda: not of_tasks(tmp_path))
    agents.start(NOWHERE)
    await eventually(lambda: kept(agents)["state"] == "succeeded")
    assert (kept(agents)["exit_code"], kept(agents)["runs"]) == (0, 1)


async def test_after_a_reboot_it_is_begun_anew_without_a_center(
    agents: Agents, bench: Bench, tmp_path: Path
) -> None:
    """A reboot is what it leaves: no process, and files of another boot with numbers that are strangers'."""
    agent = await given(agents, bench, grant())
    await agents.ended(agent, signal.SIGKILL)
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)  # noqa: ASYNC220 # short
    try:
        seen = process(stranger.pid)
        assert seen is not None
        for pid in of_tasks(tmp_path):
            with_pid(pid, signal.SIGKILL)
        await eventually(lambda: not of_tasks(tmp_path) & processes().keys())
        numbers = f"{stranger.pid} {seen.started}"
        state = tmp_path / "tasks/web.0.10/state"
        (state / "exit").unlink(missing_ok=True)
        (state / "started").write_text(f"1 {numbers} {numbers} another-boot\n")
        agents.start(NOWHERE)
        await eventually(lambda: kept(agents)["runs"] == 2)
        assert process(stranger.pid) == seen, "another process has that number now"
    finally:
        stranger.kill()
        stranger.wait()


async def test_what_belongs_to_no_task_is_ended_at_the_start(
    agents: Agents, bench: Bench, tmp_path: Path
) -> None:
    agent = await given(agents, bench, grant())
    await agents.ended(agent, signal.SIGKILL)
    home = tmp_path / "tasks/web.0.10"
    home.rename(tmp_path / "tasks/web.0.9")
    for name in ("agent.db", "agent.db-wal", "agent.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    marked = {"FARSHORE_TASK_MARK": f"{tmp_path}-other/tasks/web.0.10"}
    stranger = subprocess.Popen(["sleep", "600"], env=marked, start_new_session=True)  # noqa: ASYNC220 # short
    try:
        agents.start(NOWHERE)
        await eventually(lambda: not of_tasks(tmp_path))
        await eventually(lambda: not (tmp_path / "tasks/web.0.9").exists())
        assert process(stranger.pid) is not None, "it is another agent's"
    finally:
        stranger.kill()
        stranger.wait()


async def test_an_orderly_stop_leaves_tasks_alone(
    agents: Agents, bench: Bench, tmp_path: Path
) -> None:
    agent = await given(agents, bench, grant())
    before = of_tasks(tmp_path)
    assert await agents.ended(agent, signal.SIGTERM) == 0
    assert of_tasks(tmp_path) == before


async def test_an_agent_that_starts_itself_anew_leaves_tasks_alone(
    agents: Agents, bench: Bench, tmp_path: Path
) -> None:
    """As ``restart-agent`` does, and whoever brings the agent's files up to date."""
    note = tmp_path / "starts"
    script = f"echo $$ >> {note}; exec sleep 600"
    agent = await given(agents, bench, grant(argv=["sh", "-c", script]), flags=("--dev",))
    before, began = of_tasks(tmp_path), kept(agents)["at_ms"]
    other = await bench.client("other")
    word = {"id": "c1", "args": {"reason": "a test"}, "timeout_s": 60}
    await other.publish("fs1/down/n1/cmd/restart-agent", orjson.dumps(word))
    log = tmp_path / "agent.log"
    await eventually(lambda: "a task is taken up" in log.read_text())
    assert agent.poll() is None, "it is the same process"
    assert (of_tasks(tmp_path), note.read_text().count("\n")) == (before, 1)
    assert (kept(agents)["state"], kept(agents)["at_ms"]) == ("running", began)
    # It is looked after as before.
    os.kill(kept(agents)["pid"], signal.SIGKILL)
    await eventually(lambda: note.read_text().count("\n") == 2)
    await eventually(lambda: kept(agents)["restarts"] == 1)


async def test_after_a_reboot_what_needs_a_lease_waits_for_one(
    agents: Agents, bench: Bench, tmp_path: Path
) -> None:
    """The lease of another boot is none, however much of it seems to be left."""
    agent = agents.start(bench.broker.port)
    await eventually(lambda: any(p.topic.endswith("/birth") for p in bench.ingested))
    note = tmp_path / "starts"
    word = leased(600, argv=["sh", "-c", f"echo $$ >> {note}; exec sleep 600"])
    await _say(bench, "desired/tasks", {"rev": 1, "grants": [word, grant("free")]})
    await eventually(lambda: kept(agents).get("state") == "preparing")
    await eventually(lambda: kept(agents, "free").get("state") == "running")
    await agents.ended(agent, signal.SIGKILL)
    for pid in of_tasks(tmp_path, "free"):
        with_pid(pid, signal.SIGKILL)
    await eventually(lambda: not of_tasks(tmp_path, "free") & processes().keys())
    (tmp_path / "tasks/free.0.10/state/started").unlink()
    (tmp_path / "tasks/free.0.10/state/exit").unlink(missing_ok=True)
    (tmp_path / "tasks/web.0.10/lease").write_text("another-boot 9e9 9e9 9e9\n")
    agents.start(NOWHERE)
    await eventually(lambda: kept(agents, "free").get("runs") == 2)
    assert kept(agents)["state"] == "preparing"
    assert not note.exists()
