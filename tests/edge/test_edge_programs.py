"""``exec`` by a real agent, with programs that make it hard: they do not listen, do not read, close
their output, or leave somebody behind who holds the pipe."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from broker.conftest import bench, make_bench
from broker.workbench import Bench
from edge.edge_bench import eventually
from edge.test_edge_exec import _gone
from edge.test_edge_process import Agents, _say, _words, agents

__all__ = ["agents", "bench", "make_bench"]

pytestmark = pytest.mark.processes


class Node:
    """One agent with its broker."""

    def __init__(self, agents: Agents, bench: Bench) -> None:
        self._bench = bench
        self.process = agents.start(bench.broker.port, "--dev", "--backoff-max-s", "0.2")
        self._pings = 0

    async def ready(self) -> None:
        await eventually(lambda: _words(self._bench, "birth"), deadline_s=30)

    async def exec(self, name: str, *argv: str, timeout_s: float = 300, **args: Any) -> None:
        word = {"id": name, "timeout_s": timeout_s, "args": {"argv": list(argv), **args}}
        await _say(self._bench, "cmd/exec", word)

    def words(self, name: str) -> list[dict[str, Any]]:
        return _words(self._bench, f"res/{name}")

    def ended(self, name: str) -> dict[str, Any] | None:
        running = {"received", "accepted", "running"}
        return next((w for w in self.words(name) if w["state"] not in running), None)

    async def end(self, name: str, deadline_s: float = 60) -> dict[str, Any]:
        await eventually(lambda: self.ended(name), deadline_s=deadline_s)
        word = self.ended(name)
        assert word is not None
        return word

    async def ping(self) -> float:
        """Seconds until the answer."""
        self._pings += 1
        began_s = time.monotonic()
        await _say(self._bench, "cmd/ping", {"id": f"p{self._pings}"})
        await self.end(f"p{self._pings}")
        return time.monotonic() - began_s


@pytest.fixture
async def node(agents: Agents, bench: Bench) -> Node:
    made = Node(agents, bench)
    await made.ready()
    await made.ping()  # without a center the agent waits a while for its greeting
    return made


async def test_who_does_not_listen_to_sigterm_is_killed_with_all_that_it_started(
    node: Node, tmp_path: Path
) -> None:
    notes = [tmp_path / name for name in ("leader", "child", "fled")]
    leader, child, fled = notes
    deaf = "trap '' TERM; while :; do sleep 1; done"
    script = (
        f"sh -c 'echo $$ > {child}; {deaf}' & setsid sh -c 'echo $$ > {fled}; {deaf}' & "
        f"echo $$ > {leader}; {deaf}"
    )
    await node.exec("c1", "sh", "-c", script, timeout_s=3)
    await eventually(lambda: all(n.exists() and n.read_text() for n in notes))
    word = await node.end("c1")
    assert word["state"] == "timed_out"
    assert word["result"]["signal"] == "SIGKILL"
    for note in notes:
        await eventually(lambda note=note: _gone(int(note.read_text())))  # type: ignore[misc]


async def test_input_that_is_larger_than_a_pipe_is_given_whole_and_need_not_be_read(
    node: Node,
) -> None:
    text = "0123456789abcdef" * 5 * 1024
    code = "import sys, time; time.sleep(0.5); print(len(sys.stdin.read()))"
    await node.exec("c1", sys.executable, "-I", "-S", "-c", code, stdin=text)
    word = await node.end("c1")
    assert [c["text"] for c in word["output"]] == [f"{len(text)}\n"]
    await node.exec("c2", "sh", "-c", "exec 0<&-; sleep 0.3; echo unread", stdin=text)
    assert (await node.end("c2"))["state"] == "succeeded"
    await node.exec("c3", "sleep", "600", stdin=text, timeout_s=1)
    assert (await node.end("c3"))["state"] == "timed_out"
    assert await node.ping() < 5


async def test_who_closes_its_output_and_goes_on_is_waited_for(node: Node, tmp_path: Path) -> None:
    note = tmp_path / "note"
    script = f"echo said; exec >&- 2>&-; while ! [ -e {note} ]; do sleep 0.05; done; exit 7"
    await node.exec("c1", "sh", "-c", script)
    await eventually(lambda: node.words("c1"))
    await node.ping()
    assert node.ended("c1") is None
    note.touch()
    word = await node.end("c1")
    assert word["result"] == {"exit_code": 7, "signal": None}
    said = [c["text"] for w in node.words("c1") for c in w.get("output", ())]
    assert said == ["said\n"]


async def test_who_forks_twice_and_holds_the_pipe_does_not_hold_the_command(
    node: Node, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    code = (
        "import os, time\n"
        "if os.fork(): os.wait(); raise SystemExit\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        f"open({str(note)!r}, 'w').write(str(os.getpid()))\n"
        "time.sleep(600)"
    )
    began_s = asyncio.get_running_loop().time()
    await node.exec("c1", sys.executable, "-I", "-S", "-c", code)
    word = await node.end("c1")
    assert word["state"] == "succeeded"
    assert asyncio.get_running_loop().time() - began_s < 30
    await eventually(lambda: note.exists() and note.read_text())
    pid = int(note.read_text())
    assert not _gone(pid), "a daemon lives on when its program ended by itself"
    os.kill(pid, signal.SIGKILL)
    assert await node.ping() < 5
