"""What a program may use: it ends where it passes a limit, with all its processes, and says which."""

import sys
from pathlib import Path
from typing import Any

import pytest
from edge.edge_bench import eventually
from edge.test_edge_exec import Run, _gone
from farshore_edge.commands.verbs import Context, Outcome
from farshore_edge.commands.verbs import exec as exec_verb
from farshore_edge.commands.verbs.guard import Guard
from farshore_edge.commands.verbs.limits import (
    LOWERED,
    Limits,
    Use,
    by_signal,
    lowered,
    over,
)
from farshore_protocol.commands.catalogue import ExecArgs
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.processes


class Limited(Run):
    async def under(
        self, limits: Limits, *argv: str, timeout_s: float = 60, **args: Any
    ) -> Outcome:
        context = Context(timeout_s=timeout_s, output_max_bytes=2**16, emit=self.emit)
        handle = exec_verb.execution(limits, Guard())
        return await handle(ExecArgs(argv=list(argv), **args), context)


@pytest.fixture
def run() -> Limited:
    return Limited()


def limit(outcome: Outcome) -> str:
    assert outcome.error is not None, outcome
    assert (outcome.state, outcome.error.code) == ("failed", "limit"), outcome
    return outcome.error.message


PYTHON = (sys.executable, "-I", "-S", "-c")


async def test_processor_time(run: Limited) -> None:
    outcome = await run.under(Limits(cpu_s=1), *PYTHON, "while True: pass")
    assert "cpu_s" in limit(outcome)


async def test_processor_time_of_a_child_that_a_shell_waits_for(run: Limited) -> None:
    code = f"{sys.executable} -I -S -c 'while True: pass'; exit $?"
    assert "cpu_s" in limit(await run.under(Limits(cpu_s=1), "sh", "-c", code))


async def test_memory_of_all_together(run: Limited) -> None:
    """None of them has more than the limit, so no process is refused anything by the kernel."""
    code = (
        "import os, time\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0: break\n"
        "kept = bytearray(os.urandom(1)) * (30 << 20)\n"
        "time.sleep(600)"
    )
    outcome = await run.under(Limits(memory_bytes=80 << 20), *PYTHON, code)
    assert "memory_bytes" in limit(outcome)


async def test_memory_of_one_is_refused_by_the_kernel(run: Limited) -> None:
    code = "import time\ntime.sleep(0.5)\nkept = b'x' * (200 << 20)\nprint(len(kept))"
    outcome = await run.under(Limits(memory_bytes=64 << 20), *PYTHON, code)
    assert outcome.state == "failed"
    assert "MemoryError" in run.text("stderr")


async def test_processes_and_no_child_is_left(run: Limited, tmp_path: Path) -> None:
    note = tmp_path / "pids"
    code = f"for i in 1 2 3 4 5 6 7 8; do sleep 600 & echo $! >> {note}; done; wait"
    outcome = await run.under(Limits(processes=4), "sh", "-c", code)
    assert "processes: 9 at once, allowed are 4" in limit(outcome)
    for pid in note.read_text().split():
        await eventually(lambda pid=pid: _gone(int(pid)))  # type: ignore[misc] # bound at once


async def test_open_files_and_size_of_a_file(run: Limited, tmp_path: Path) -> None:
    code = (
        "import time\ntime.sleep(0.5)\nkept = []\n"
        "try:\n    while True: kept.append(open('/dev/null'))\n"
        "except OSError as exc: print(len(kept) < 20, exc.strerror)"
    )
    assert (await run.under(Limits(open_files=16), *PYTHON, code)).state == "succeeded"
    assert "True Too many open files" in run.text()
    big = tmp_path / "big"
    code = f"sleep 0.5; exec dd if=/dev/zero of={big} bs=64k count=100"
    outcome = await run.under(Limits(file_bytes=1 << 20), "sh", "-c", code)
    assert "file_bytes" in limit(outcome)
    assert big.stat().st_size == 1 << 20


async def test_a_program_stands_back_and_is_the_first_to_go(run: Limited) -> None:
    code = "sleep 0.5; nice; cat /proc/self/oom_score_adj"
    await run.under(Limits(nice=7), "sh", "-c", code)
    assert run.text().split() == ["7", "500"]


async def test_a_command_can_only_lower_its_limits(run: Limited) -> None:
    outcome = await run.under(Limits(cpu_s=5), "true", cpu_s=6)
    assert outcome.error is not None
    assert outcome.error.code == "bad_args"
    assert "cpu_s: 6, expected 5 or less (setting exec_cpu_s)" in outcome.error.message
    outcome = await run.under(Limits(cpu_s=60), *PYTHON, "while True: pass", cpu_s=1)
    assert "cpu_s" in limit(outcome)


AMOUNT = st.none() | st.integers(1, 10)


@given(
    st.fixed_dictionaries({name: st.integers(0, 10) for name in LOWERED}),
    st.fixed_dictionaries(dict.fromkeys(LOWERED, AMOUNT)),
)
def test_whatever_is_asked_for_never_more_than_the_nodes_own(
    own: dict[str, int], asked: dict[str, int | None]
) -> None:
    limits = Limits(**own)
    found = lowered(limits, ExecArgs(argv=["x"], **asked))  # type: ignore[arg-type]
    too_much = [n for n in LOWERED if own[n] and (asked[n] or 0) > own[n]]
    if too_much:
        assert isinstance(found, str)
        assert too_much[0] in found
        return
    assert isinstance(found, Limits)
    for name in LOWERED:
        assert getattr(found, name) == (asked[name] or own[name])


def test_which_limit_was_passed() -> None:
    limits = Limits(cpu_s=2, memory_bytes=100, processes=3, file_bytes=5)
    assert over(limits, Use(cpu_s=2, memory_bytes=100, processes=3)) is None
    assert "processes" in str(over(limits, Use(processes=4)))
    assert over(Limits(), Use(cpu_s=1e9, memory_bytes=2**60, processes=10**6)) is None
    assert "cpu_s" in str(by_signal(limits, -24))
    assert "cpu_s" in str(by_signal(limits, 128 + 24))
    assert "file_bytes" in str(by_signal(limits, -25))
    assert by_signal(Limits(), -24) is None
    assert by_signal(limits, -9) is None
