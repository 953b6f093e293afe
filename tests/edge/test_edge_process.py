"""The agent as a real process: how it starts, ends, is killed and comes back."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest
from broker.conftest import bench, make_bench
from broker.workbench import Bench
from edge.edge_bench import eventually
from farshore_protocol.telemetry import inflate
from ports import free_port

__all__ = ["bench", "make_bench"]

pytestmark = pytest.mark.processes

FOREIGN = {
    "alembic",
    "amqtt",
    "fastapi",
    "httpx",
    "numpy",
    "pydantic",
    "rich",
    "sqlalchemy",
    "sqlmodel",
    "structlog",
    "typer",
    "uvicorn",
}
PSS_MAX_BYTES = 40 * 1024 * 1024


class Agents:
    """Agent processes on one data folder, ended with the test."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.log = data / "agent.log"
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, port: int, *flags: str) -> subprocess.Popen[bytes]:
        argv = [
            sys.executable,
            "-c",
            "import sys; from farshore_edge.cli import main; sys.exit(main())",
        ]
        argv += ["run", "--node", "n1", "--data", str(self.data)]
        argv += ["--center", f"mqtt://127.0.0.1:{port}", "--backoff-first-s", "0.1", *flags]
        with self.log.open("ab") as log:
            process = subprocess.Popen(argv, stdout=log, stderr=log)
        self.started.append(process)
        return process

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        path = self.data / "agent.db"
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            try:
                return connection.execute(sql).fetchall()
            except sqlite3.OperationalError:  # the tables are being made
                return []

    async def ended(self, process: subprocess.Popen[bytes], number: signal.Signals) -> int:
        process.send_signal(number)
        await eventually(lambda: process.poll() is not None)
        return int(process.returncode)


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[Agents]:
    made = Agents(tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def dead_port() -> int:
    return free_port()


def _words(bench: Bench, kind: str) -> list[dict[str, Any]]:
    mine = [p for p in bench.ingested if p.topic.startswith(f"fs1/up/n1/{kind}")]
    return [orjson.loads(inflate(p.payload)) for p in mine]


async def _say(bench: Bench, what: str, word: Any) -> None:
    client = await bench.client("person")
    await client.publish(f"fs1/down/n1/{what}", orjson.dumps(word))


def test_the_agent_brings_none_of_the_centers_packages_along() -> None:
    code = "import sys, farshore_edge.host, farshore_edge.cli; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "farshore_edge" in loaded
    assert not loaded & (FOREIGN | {"farshore_center", "farshore_sim"})


async def test_without_a_broker_it_starts_and_buffers_and_a_sigterm_loses_no_sample(
    agents: Agents, dead_port: int
) -> None:
    process = agents.start(dead_port, "--sample-interval-s", "0.1", "--batch-s", "0.3")
    count = "SELECT count(*) FROM record WHERE stream = 'metrics'"
    await eventually(lambda: agents.rows(count) and agents.rows(count)[0][0] >= 2, deadline_s=20)
    assert await agents.ended(process, signal.SIGTERM) == 0
    again = agents.start(dead_port, "--batch-s", "3600")
    before = agents.rows(count)[0][0]
    facts = "SELECT count(*) FROM record WHERE stream = 'reports'"
    await eventually(lambda: agents.rows(facts)[0][0] == 2, deadline_s=20)
    assert agents.rows(count)[0][0] == before
    assert await agents.ended(again, signal.SIGTERM) == 0
    assert agents.rows(count)[0][0] == before + 1, "the batch that was not full yet"


async def test_at_a_sigterm_the_broker_hears_offline_and_the_exit_code_is_0(
    agents: Agents, bench: Bench
) -> None:
    process = agents.start(bench.broker.port, "--stop-grace-s", "0.2")
    await eventually(lambda: _words(bench, "birth"), deadline_s=20)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    assert await agents.ended(process, signal.SIGTERM) == 0
    assert loop.time() - began_s < 4
    await eventually(lambda: _words(bench, "presence")[-1]["state"] == "offline")
    states = [word["state"] for word in _words(bench, "presence")]
    assert states == ["online", "offline"], "no will, and no repair of its own farewell"


async def test_a_second_agent_on_the_same_data_says_so_and_ends(
    agents: Agents, dead_port: int
) -> None:
    agents.start(dead_port)
    await eventually(lambda: agents.rows("SELECT 1 FROM record"), deadline_s=20)
    second = agents.start(dead_port)
    await eventually(lambda: second.poll() is not None, deadline_s=20)
    assert second.returncode == 1
    assert "another agent is using it" in agents.log.read_text()
    assert "Traceback" not in agents.log.read_text()


async def test_a_command_that_dies_with_the_agent_is_reported_and_not_run_twice(
    agents: Agents, bench: Bench, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    process = agents.start(bench.broker.port, "--dev")
    await eventually(lambda: _words(bench, "birth"), deadline_s=20)
    args = {"argv": ["sh", "-c", f"echo $$ >> {note}; exec sleep 600"]}
    await _say(bench, "cmd/exec", {"id": "c1", "args": args})
    await eventually(lambda: note.exists() and note.read_text())
    assert await agents.ended(process, signal.SIGKILL) == -9
    psutil.Process(int(note.read_text())).kill()
    agents.start(bench.broker.port, "--dev")
    state = "SELECT state FROM command WHERE id = 'c1'"
    await eventually(lambda: agents.rows(state) == [("interrupted",)], deadline_s=20)
    await eventually(
        lambda: any(w["state"] == "interrupted" for w in _words(bench, "res/c1")), deadline_s=20
    )
    await eventually(lambda: len(_words(bench, "birth")) == 2)
    other = await bench.client("other")
    await other.publish("fs1/down/n1/cmd/exec", orjson.dumps({"id": "c1", "args": args}))
    await eventually(lambda: sum(w["state"] == "interrupted" for w in _words(bench, "res/c1")) >= 2)
    assert len(note.read_text().splitlines()) == 1


async def test_it_is_one_small_process(agents: Agents, bench: Bench) -> None:
    process = agents.start(bench.broker.port, "--sample-interval-s", "0.1", "--batch-s", "0.2")
    await eventually(lambda: len(_words(bench, "tel/host")) >= 3, deadline_s=25)
    own = psutil.Process(process.pid)
    assert own.children(recursive=True) == []
    assert own.memory_full_info().pss <= PSS_MAX_BYTES


async def test_a_real_center_that_is_killed_gets_everything_when_it_is_back(
    agents: Agents, tmp_path: Path
) -> None:
    mqtt, http = free_port(), free_port()
    held = "SELECT count(*) FROM record WHERE stream = 'metrics'"
    head = "SELECT max(seq) FROM record WHERE stream = 'metrics'"

    def center() -> subprocess.Popen[bytes]:
        argv = [str(Path(sys.executable).with_name("farshore-center")), "run", "--dev"]
        argv += ["--data", str(tmp_path / "center"), "--http", f"127.0.0.1:{http}"]
        argv += ["--mqtt", f"127.0.0.1:{mqtt}"]
        with agents.log.open("ab") as log:
            process = subprocess.Popen(argv, stdout=log, stderr=log)
        agents.started.append(process)
        return process

    first = center()
    flags = ("--sample-interval-s", "0.1", "--batch-s", "0.2", "--backoff-max-s", "0.2")
    agent = agents.start(mqtt, *flags)
    reports = "SELECT head, (SELECT count(*) FROM record WHERE stream = 'reports') FROM stream"
    reports += " WHERE name = 'reports'"
    await eventually(lambda: agents.rows(reports) == [(1, 0)], deadline_s=30)
    await agents.ended(first, signal.SIGKILL)
    await eventually(lambda: agents.rows(held)[0][0] >= 5)
    buffered = agents.rows(head)[0][0]
    center()
    oldest = f"SELECT count(*) FROM record WHERE stream = 'metrics' AND seq <= {buffered}"
    await eventually(lambda: agents.rows(oldest) == [(0,)], deadline_s=30)
    assert agents.rows("SELECT count(*) FROM loss") == [(0,)]
    assert await agents.ended(agent, signal.SIGTERM) == 0
    assert agents.rows(held) == [(0,)], "an orderly stop waits for its acknowledgements"
