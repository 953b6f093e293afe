"""``farshore-sim demo`` as a process: it tells the truth, and leaves nothing behind."""

import asyncio
import contextlib
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from farshore_sim.demo.ports import ClaimedPort
from sim.started import BIN, Started, started, when

pytestmark = pytest.mark.processes

SHORT = ("demo", "--exit", "--cut-s", "4", "--nodes", "3", "--no-work")
ALL = ("demo", "--exit", "--cut-s", "2", "--nodes", "3")
STAYS = ("demo", "--cut-s", "2", "--nodes", "1", "--no-work")
STORY = (
    "A center starts",
    "This machine is a real node",
    "A command to all",
    "The link of this-machine is cut",
    "What the streams' books say",
)
WORK = (
    "Work is placed: a service on the edge, twice",
    "A batch over large data stays where the data lies",
    "A heavy one goes to the core",
    "A node dies; its work appears elsewhere",
)
LAST = "Try it yourself"
MEASURING = "saw it go offline"


@contextlib.asynccontextmanager
async def demo(folder: Path, *arguments: str, **environment: str) -> AsyncIterator[Started]:
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    async with started("farshore-sim", *arguments, TMPDIR=str(folder), **environment) as program:
        yield program


def children(program: Started) -> dict[str, psutil.Process]:
    """By name; a script's name is its own, not its interpreter's."""
    found = psutil.Process(program.process.pid).children(recursive=True)
    named: dict[str, psutil.Process] = {}
    for each in found:
        with contextlib.suppress(psutil.NoSuchProcess):  # it may end while it is looked at
            line = each.cmdline()
            if len(line) > 1:
                named[Path(line[1]).name] = each
    return named


def nothing_left(folder: Path, *processes: psutil.Process) -> bool:
    return not any(each.is_running() for each in processes) and not list(folder.iterdir())


@contextlib.contextmanager
def taken(*ports: int) -> Iterator[None]:
    """Listeners on the ports; where somebody has one already, it is taken anyway."""
    with contextlib.ExitStack() as opened:
        for port in ports:
            with contextlib.suppress(OSError):
                opened.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


def told(text: str) -> list[str]:
    """The titles of its chapters, as far as one line holds them."""
    return re.findall(r"^\d+\. (.+)$", text, re.M)


def of_tasks(folder: Path) -> list[int]:
    """Whoever lives of a task of an agent whose data lie below the folder."""
    mark = f"FARSHORE_TASK_MARK={folder}/".encode()
    found = []
    for each in psutil.process_iter():
        with contextlib.suppress(OSError):
            if mark in Path(f"/proc/{each.pid}/environ").read_bytes():
                found.append(each.pid)
    return found


async def test_two_at_once_tell_every_chapter_beside_taken_ports(tmp_path: Path) -> None:
    with taken(8080, 1883):
        async with demo(tmp_path / "a", *ALL) as one, demo(tmp_path / "b", *SHORT) as two:
            await one.says(WORK[1])
            assert of_tasks(tmp_path / "a"), "the service runs"
            codes = await asyncio.gather(one.ends(), two.ends())
    assert list(codes) == [0, 0], one.text + two.text
    assert not of_tasks(tmp_path), "its tasks have ended with it"
    for program, chapters in ((one, (*STORY, *WORK, LAST)), (two, (*STORY, LAST))):
        titles = told(program.text)
        assert len(titles) == len(chapters), titles
        assert all(map(str.startswith, titles, chapters)), titles
        assert "Everything that was told was true." in program.text
        assert "not true" not in program.text
        assert "4 nodes are online" in program.text
        assert "ping: 4 of 4 nodes answered" in program.text
        assert "\x1b" not in program.text, "colours or bars where no terminal is"
        assert "127.0.0.1:1883" not in program.text
        assert max(map(len, program.text.splitlines())) <= 80
        assert not any(line != line.rstrip() for line in re.findall(r".*[.:] +$", program.text))
    assert list((tmp_path / "a").iterdir()) == list((tmp_path / "b").iterdir()) == []


async def test_a_center_that_dies_is_told_and_the_exit_code_is_1(tmp_path: Path) -> None:
    async with demo(tmp_path, *SHORT) as program:
        await program.says(MEASURING)
        processes = children(program)
        assert {"farshore-center", "farshore-agent"} <= processes.keys()
        processes["farshore-center"].kill()
        assert await program.ends() == 1, program.text
    assert "not true: farshore-center ended by SIGKILL" in program.text
    assert "Not everything was true" in program.text
    assert "Everything that was told was true" not in program.text
    assert "Traceback" not in program.text
    assert nothing_left(tmp_path, *processes.values())


async def test_an_agent_that_dies_during_the_cut_is_told(tmp_path: Path) -> None:
    async with demo(tmp_path, *SHORT) as program:
        await program.says(MEASURING)
        processes = children(program)
        processes["farshore-agent"].kill()
        assert await program.ends() == 1, program.text
    assert "not true: farshore-agent ended by SIGKILL" in program.text
    assert nothing_left(tmp_path, *processes.values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_an_interrupted_story_stops_everything(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with demo(tmp_path, *SHORT) as program:
        await program.says(MEASURING)
        processes = children(program)
        program.process.send_signal(number)
        await program.says("Interrupted")
        program.process.send_signal(number)  # impatience leaves nothing behind either
        assert await program.ends() == 130, program.text
    assert "Traceback" not in program.text
    assert "was true" not in program.text
    assert nothing_left(tmp_path, *processes.values())


async def test_ctrl_c_while_it_starts_stops_everything(tmp_path: Path) -> None:
    async with demo(tmp_path, *SHORT) as program:
        await program.says("1. A center starts")
        await when(lambda: "farshore-center" in children(program), "the center")
        processes = children(program)
        assert await program.stop(signal.SIGINT) == 130, program.text
    assert nothing_left(tmp_path, *processes.values())


async def test_without_exit_it_stays_and_its_commands_can_be_copied(tmp_path: Path) -> None:
    async with demo(tmp_path, *STAYS, COLUMNS="50") as program:
        await program.says("until you press Ctrl-C")
        processes = children(program)
        lines = [line.strip() for line in program.text.splitlines()]
        (typed,) = [line for line in lines if line.endswith("exec -- uptime")]
        ran = await asyncio.create_subprocess_shell(typed, stdout=-1, stderr=-1)
        out, err = await ran.communicate()
        assert ran.returncode == 0, err.decode()
        assert "load average" in out.decode()
        assert any(re.fullmatch(r"curl http://[\d.:]+/api/v1/nodes", line) for line in lines)
        assert any(line.endswith("cmd/ping -m '{}'") for line in lines)
        assert await program.stop(signal.SIGINT) == 0, program.text
    assert "Everything that was told was true." in program.text
    assert nothing_left(tmp_path, *processes.values())


async def test_a_program_that_dies_while_it_stays_is_told(tmp_path: Path) -> None:
    async with demo(tmp_path, *STAYS) as program:
        await program.says("until you press Ctrl-C")
        processes = children(program)
        processes["farshore-agent"].kill()
        assert await program.ends() == 1, program.text
    assert "not true: farshore-agent ended by SIGKILL" in program.text
    assert nothing_left(tmp_path, *processes.values())


def test_a_claimed_port_is_nobody_elses() -> None:
    with contextlib.ExitStack() as opened:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = int(probe.getsockname()[1])
        first = opened.enter_context(contextlib.closing(ClaimedPort(free)))
        assert first.port == free
        second = opened.enter_context(contextlib.closing(ClaimedPort(free)))
        assert second.port != free
        # The program that is to listen there can.
        opened.enter_context(socket.create_server(("127.0.0.1", first.port)))
        first.close()
    with contextlib.closing(ClaimedPort(free)) as again:
        assert again.port == free


def test_the_programs_under_test_are_this_environments() -> None:
    assert os.access(BIN / "farshore-center", os.X_OK)
