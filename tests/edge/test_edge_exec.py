"""``exec`` runs real programs: never a shell, bounded output, and no process left behind."""

import asyncio
import itertools
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from edge.edge_bench import eventually
from farshore_edge.commands.verbs import Context, Outcome
from farshore_edge.commands.verbs import exec as exec_verb
from farshore_edge.commands.verbs.capture import Budget, Capture
from farshore_protocol.commands import Output
from farshore_protocol.commands.catalogue import ExecArgs
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.processes


class Run:
    def __init__(self) -> None:
        self.chunks: list[Output] = []

    async def emit(self, chunk: Output) -> None:
        self.chunks.append(chunk)

    async def __call__(
        self, *argv: str, timeout_s: float = 20, output_max_bytes: int = 256 * 1024, **args: Any
    ) -> Outcome:
        context = Context(timeout_s=timeout_s, output_max_bytes=output_max_bytes, emit=self.emit)
        return await exec_verb.run(ExecArgs(argv=list(argv), **args), context)

    def text(self, stream: str = "stdout") -> str:
        return "".join(chunk.text for chunk in self.chunks if chunk.stream == stream)


@pytest.fixture
def run() -> Run:
    return Run()


@pytest.fixture
def quick_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farshore_edge.commands.verbs.program.TERM_GRACE_S", 0.2)
    monkeypatch.setattr(exec_verb, "LAST_WORDS_S", 0.2)


async def test_the_vector_reaches_the_program_as_it_is(run: Run, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    outcome = await run("echo", f"$HOME; rm {victim}", "*", "`id`")
    assert outcome == Outcome(result={"exit_code": 0, "signal": None})
    assert run.text() == f"$HOME; rm {victim} * `id`\n"
    assert victim.exists()


async def test_folder_environment_and_input_are_given(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARSHORE_NODE", "secret")
    monkeypatch.setenv("OTHER", "seen")
    await run(
        "sh",
        "-c",
        'pwd; echo "$A $OTHER [$FARSHORE_NODE]"; cat',
        cwd=str(tmp_path),
        env={"A": "given"},
        stdin="grün\n",
    )
    assert run.text() == f"{tmp_path}\ngiven seen []\ngrün\n"


async def test_without_input_there_is_none_to_wait_for(run: Run) -> None:
    outcome = await run("cat")
    assert outcome.state == "succeeded"


async def test_a_program_need_not_read_its_input(run: Run) -> None:
    outcome = await run("true", stdin="x" * 90_000)
    assert outcome.state == "succeeded"


async def test_an_exit_code_and_a_signal_are_told(run: Run) -> None:
    failed = await run("sh", "-c", "echo oops >&2; exit 3")
    assert failed.result == {"exit_code": 3, "signal": None}
    assert failed.error is not None
    assert (failed.state, failed.error.code, failed.error.message) == (
        "failed",
        "exit",
        "exit code 3",
    )
    assert run.text("stderr") == "oops\n"
    killed = await run("sh", "-c", "kill -SEGV $$")
    assert killed.result == {"exit_code": None, "signal": "SIGSEGV"}
    assert killed.state == "failed"


@pytest.mark.parametrize(
    ("argv", "args", "words"),
    [
        pytest.param(["/no/such"], {}, "/no/such: No such file", id="no such program"),
        pytest.param(
            ["ls"], {"cwd": "/no/folder"}, "/no/folder: No such file", id="no such folder"
        ),
        pytest.param(["/"], {}, "Permission denied", id="no program at all"),
        pytest.param(["ls", "a\0b"], {}, "null byte", id="a NUL in an argument"),
        pytest.param(["ls"], {"env": {"A=B": "c"}}, "illegal environment", id="a wrong name"),
    ],
)
async def test_what_cant_be_started_says_why(
    run: Run, argv: list[str], args: dict[str, Any], words: str
) -> None:
    outcome = await run(*argv, **args)
    assert outcome.state == "failed"
    assert outcome.error is not None
    assert outcome.error.code == "not_started"
    assert words in outcome.error.message


async def test_binary_output_becomes_text_and_is_counted_in_bytes(run: Run) -> None:
    code = "import os; os.write(1, bytes(range(256)) * 2); os.write(1, b'end')"
    await run(sys.executable, "-c", code)
    assert run.text() == (bytes(range(256)) * 2 + b"end").decode(errors="replace")


async def test_much_output_is_read_and_dropped_beyond_the_limit(run: Run) -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = await run("timeout", "0.7", "yes", output_max_bytes=10_000)
    assert run.text() == "y\n" * 5000
    assert outcome.result is not None
    assert outcome.result["output_cut_bytes"] > 10_000_000
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    assert grown_kb < 20_000


IGNORES = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "


@pytest.mark.usefixtures("quick_end")
async def test_a_timeout_ends_the_group_and_grandchildren_that_ignore_sigterm(
    run: Run, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    child = (
        IGNORES + f"import os; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    )
    code = IGNORES + f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    running = asyncio.create_task(run(sys.executable, "-c", code, timeout_s=2))
    await eventually(lambda: note.exists() and note.read_text())
    outcome = await running
    assert outcome.state == "timed_out"
    assert outcome.result == {"exit_code": None, "signal": "SIGKILL"}
    assert outcome.error is not None
    assert "2 s" in outcome.error.message
    await eventually(lambda: _gone(int(note.read_text())))


@pytest.mark.usefixtures("quick_end")
async def test_output_before_a_timeout_is_kept(run: Run) -> None:
    outcome = await run("sh", "-c", "echo begun; exec sleep 600", timeout_s=0.5)
    assert outcome.result == {"exit_code": None, "signal": "SIGTERM"}
    assert run.text() == "begun\n"


async def test_what_a_program_leaves_in_its_group_ends_with_it(run: Run) -> None:
    outcome = await run("sh", "-c", "sleep 600 & echo $!")
    assert outcome.state == "succeeded"
    await eventually(lambda: _gone(int(run.text())))


@pytest.mark.usefixtures("quick_end")
async def test_a_daemon_that_keeps_the_pipe_open_hangs_nothing(run: Run, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    note = tmp_path / "pid"
    daemon = f"setsid -f sh -c 'echo $$ > {note}; exec sleep 600'"
    async with asyncio.timeout(10):
        outcome = await run("sh", "-c", f"{daemon}; while ! [ -s {note} ]; do :; done; exit 4")
    pid = int(note.read_text())
    assert outcome.result == {"exit_code": 4, "signal": None}
    assert not _gone(pid), "it left the group"
    psutil.Process(pid).kill()
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)


@pytest.mark.usefixtures("quick_end")
async def test_a_cancelled_command_leaves_no_process(run: Run, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"echo $$ > {note}; trap '' TERM; while :; do sleep 600; done"
    running = asyncio.create_task(run("sh", "-c", code))
    await eventually(lambda: note.exists() and note.read_text())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await eventually(lambda: _gone(int(note.read_text())))


@pytest.mark.parametrize("turns", range(1, 6))
@pytest.mark.usefixtures("quick_end")
async def test_a_command_that_is_cancelled_while_it_starts_leaves_no_process(
    run: Run, tmp_path: Path, turns: int
) -> None:
    note = tmp_path / "pid"
    running = asyncio.create_task(run("sh", "-c", f"sleep 600 & echo $! > {note}; wait"))
    for _ in range(turns):
        await asyncio.sleep(0)
    time.sleep(0.1)  # noqa: ASYNC251 # the loop has not heard yet that the program is running
    running.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await running
    if note.exists() and note.read_text():
        await eventually(lambda: _gone(int(note.read_text())))


async def test_trouble_with_the_reports_ends_the_program(run: Run, tmp_path: Path) -> None:
    async def broken(_chunk: Output) -> None:
        raise RuntimeError("nobody listens")

    run.emit = broken  # type: ignore[method-assign, assignment] # that is the case
    with pytest.raises(RuntimeError):
        await run("sh", "-c", "echo $$; exec true")


def _gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# Offsets


async def _captured(pieces: list[bytes], budget: int = 10**9) -> list[Output]:
    reader = asyncio.StreamReader()
    chunks: list[Output] = []

    async def emit(chunk: Output) -> None:
        chunks.append(chunk)

    draining = asyncio.create_task(Capture("stdout", Budget(left=budget), emit).drain(reader))
    for piece in pieces:
        reader.feed_data(piece)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    reader.feed_eof()
    await draining
    return chunks


async def test_a_character_that_is_split_over_two_reads_belongs_to_the_second_chunk() -> None:
    euro = "€".encode()
    chunks = await _captured([b"a" + euro[:1], euro[1:2], euro[2:] + b"b"])
    assert [(c.offset, c.text) for c in chunks] == [(0, "a"), (1, "€b")]


async def test_an_end_in_the_middle_of_a_character_is_shown() -> None:
    chunks = await _captured([b"ab\xe2\x82"])
    assert [(c.offset, c.text) for c in chunks] == [(0, "ab"), (2, "\N{REPLACEMENT CHARACTER}")]


@given(st.text(max_size=40), st.lists(st.integers(0, 160), max_size=8))
def test_each_chunk_says_where_its_bytes_are(text: str, cuts: list[int]) -> None:
    data = text.encode()
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    chunks = asyncio.run(_captured(pieces))
    assert "".join(chunk.text for chunk in chunks) == text
    for chunk in chunks:
        encoded = chunk.text.encode()
        assert data[chunk.offset : chunk.offset + len(encoded)] == encoded
