"""A program on the agent's event loop: cheap to start, heard to its end, with or without a pidfd."""

import asyncio
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from edge.test_edge_exec import Run
from farshore_edge.commands.verbs import exec as exec_verb
from farshore_edge.commands.verbs import limits as limits_module
from farshore_edge.commands.verbs.limits import Limits, impose
from farshore_edge.commands.verbs.program import Program, start
from farshore_edge.commands.verbs.table import childless

pytestmark = pytest.mark.processes

PYTHON = (sys.executable, "-I", "-S", "-c")


async def started(*argv: str, stdin: bytes | None = None) -> Program:
    return await start(argv, cwd=None, env=os.environ, stdin=stdin)


@pytest.mark.skipif(
    not Path("/proc/self/task", str(os.getpid()), "children").exists(),
    reason="this kernel does not tell a process's children",
)
async def test_a_short_program_costs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_verb, "EARLY_S", 30.0)  # short, however busy this machine is
    before = set(threading.enumerate())
    outcome = await Run()("true")
    assert outcome.state == "succeeded"
    assert set(threading.enumerate()) <= before


async def test_where_the_kernel_has_no_pidfd_a_thread_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(_pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", missing)
    program = await started("sh", "-c", "exit 3")
    async with asyncio.timeout(30):
        await program.exited.wait()
    assert program.returncode == 3
    program.close()


async def test_all_of_a_long_input_comes_through_and_back() -> None:
    data = os.urandom(1_000_000)
    program = await started("cat", stdin=data)
    async with asyncio.timeout(30):
        assert await program.stdout.read() == data
        await program.exited.wait()
    assert program.returncode == 0
    program.close()


async def test_input_that_nobody_reads_keeps_nobody_waiting() -> None:
    program = await started("true", stdin=b"x" * 1_000_000)
    async with asyncio.timeout(30):
        await program.exited.wait()
    program.close()
    assert program.returncode == 0


async def test_what_nobody_has_read_is_not_read_into_memory() -> None:
    program = await started("sh", "-c", "head -c 20000000 /dev/zero; echo done >&2")
    async with asyncio.timeout(30):
        held = 0
        while not held:
            await asyncio.sleep(0)
            held = len(await program.stdout.readexactly(1))
        assert not program.exited.is_set()  # it waits: its pipe is full
        rest = await program.stdout.read(-1)
        await program.exited.wait()
    assert held + len(rest) == 20_000_000
    program.close()


async def test_what_still_runs_when_it_is_let_go_is_killed() -> None:
    program = await started("sleep", "600")
    program.close()
    async with asyncio.timeout(30):
        await program.exited.wait()
    assert program.returncode == -9


def test_who_has_children_is_seen() -> None:
    code = "import subprocess, sys; subprocess.Popen(['sleep', '600']); print(flush=True); input()"
    parent = subprocess.Popen(
        [*PYTHON, code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    try:
        assert not childless(parent.pid)
    finally:
        os.killpg(parent.pid, 9)
        parent.communicate()
    assert childless(parent.pid)  # it is gone


def test_limits_are_set_where_the_order_of_killing_can_not_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_pid: int, _limits: Limits) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(limits_module, "_stand_back", refused)
    with subprocess.Popen(["sleep", "600"]) as sleeper:
        impose(sleeper.pid, Limits(open_files=17))
        assert resource.prlimit(sleeper.pid, resource.RLIMIT_NOFILE) == (17, 17)
        sleeper.kill()
