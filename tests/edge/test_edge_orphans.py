"""After a crash of the agent what it had started is ended, and nobody else."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broker.conftest import bench, make_bench
from broker.workbench import Bench
from edge.edge_bench import eventually
from edge.test_edge_process import Agents, _say, _words, agents
from farshore_edge.commands.verbs.guard import VARIABLE, Guard, Record, orphans
from farshore_edge.commands.verbs.table import Seen, marked, process, processes
from hypothesis import given
from hypothesis import strategies as st

__all__ = ["agents", "bench", "make_bench"]

pytestmark = pytest.mark.processes

STUBBORN = "trap '' TERM; while :; do sleep 1; done"


@pytest.fixture
def strangers() -> Iterator[list[subprocess.Popen[bytes]]]:
    made: list[subprocess.Popen[bytes]] = []
    yield made
    for each in made:
        each.kill()
        each.wait()


def stranger(made: list[subprocess.Popen[bytes]], **more: Any) -> int:
    process = subprocess.Popen(["sleep", "600"], start_new_session=True, **more)
    made.append(process)
    return process.pid


def lives(pid: int) -> bool:
    return process(pid) is not None


async def test_a_killed_agents_programs_are_ended_at_its_next_start_and_told(
    agents: Agents, bench: Bench, tmp_path: Path, strangers: list[subprocess.Popen[bytes]]
) -> None:
    first = agents.start(bench.broker.port, "--dev")
    await eventually(lambda: _words(bench, "birth"), deadline_s=30)
    notes = [tmp_path / name for name in ("leader", "child", "fled", "bare")]
    leader, child, fled, bare = notes
    # One in the group, one that left it for a session of its own, one that also gave its
    # environment away; none of them ends at a SIGTERM.
    script = (
        f"(echo $(exec sh -c 'echo $PPID') > {child}; {STUBBORN}) & "
        f"setsid sh -c 'echo $$ > {fled}; {STUBBORN}' & "
        f"env -i sh -c 'echo $$ > {bare}; {STUBBORN}' & "
        f"echo $$ > {leader}; {STUBBORN}"
    )
    await _say(bench, "cmd/exec", {"id": "c1", "args": {"argv": ["sh", "-c", script]}})
    await eventually(lambda: all(n.exists() and n.read_text().strip() for n in notes))
    pids = [int(note.read_text()) for note in notes]
    assert await agents.ended(first, signal.SIGKILL) == -9
    assert all(map(lives, pids)), "nobody has ended them yet"

    # Records of programs whose numbers are strangers' by now.
    other = stranger(strangers)
    seen = process(other)
    assert seen is not None
    folder = agents.data / "programs"
    [mine] = list(folder.iterdir())
    record = json.loads(mine.read_text().splitlines()[-1])
    for mark, changed in (
        ("0" * 24, {"pid": other, "started": seen.started - 1}),
        ("1" * 24, {"pid": other, "started": seen.started, "boot": "another"}),
    ):
        (folder / mark).write_text(json.dumps({**record, **changed, "mark": mark}) + "\n")
    (folder / ("2" * 24)).write_text("{broken")

    agents.start(bench.broker.port, "--dev")
    await eventually(
        lambda: any(w["state"] == "interrupted" for w in _words(bench, "res/c1")), deadline_s=40
    )
    word = next(w for w in _words(bench, "res/c1") if w["state"] == "interrupted")
    assert not any(map(lives, pids)), "ended before it was said"
    assert set(pids) <= {each["pid"] for each in word["result"]["ended"]}
    assert f"(pid {pids[0]})" in word["error"]["message"]
    assert lives(other)
    assert list(folder.iterdir()) == []


async def test_what_ended_by_itself_may_leave_a_daemon_and_nothing_on_record(
    agents: Agents, bench: Bench, tmp_path: Path
) -> None:
    first = agents.start(bench.broker.port, "--dev")
    await eventually(lambda: _words(bench, "birth"), deadline_s=30)
    note = tmp_path / "pid"
    daemon = f"setsid -f sh -c 'echo $$ > {note}; exec sleep 600'"
    script = f"{daemon}; while ! [ -s {note} ]; do :; done"
    await _say(bench, "cmd/exec", {"id": "c1", "args": {"argv": ["sh", "-c", script]}})
    await eventually(
        lambda: any(w["state"] == "succeeded" for w in _words(bench, "res/c1")), deadline_s=30
    )
    assert list((agents.data / "programs").iterdir()) == []
    await agents.ended(first, signal.SIGKILL)
    agents.start(bench.broker.port, "--dev")
    await eventually(lambda: len(_words(bench, "birth")) == 2, deadline_s=30)
    pid = int(note.read_text())
    assert lives(pid)
    os.kill(pid, signal.SIGKILL)


async def test_without_a_record_no_program_is_started(tmp_path: Path) -> None:
    from farshore_edge.commands.verbs.program import start

    (tmp_path / "file").touch()
    guard = Guard(tmp_path / "file" / "programs")
    note = tmp_path / "note"
    with pytest.raises(OSError, match="Not a directory"):
        await start(["touch", str(note)], cwd=None, env={}, stdin=None, guard=guard)
    assert not note.exists()
    plain: dict[str, str] = {}
    program = await start(["true"], cwd=None, env=plain, stdin=None, guard=guard, must_record=False)
    await program.exited.wait()
    program.close()


async def test_a_mark_is_found_in_the_environment_alone(
    strangers: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    guard = Guard(tmp_path)
    record = guard.begin("c1")
    marked_pid = stranger(strangers, env={VARIABLE: record.mark})
    near = stranger(strangers, env={VARIABLE: record.mark + "0", "X": f"{VARIABLE}={record.mark}"})
    assert marked(f"{VARIABLE}={record.mark}") == {marked_pid}
    reaping = asyncio.create_task(asyncio.to_thread(strangers[0].wait))
    [ended] = (await Guard(tmp_path).end_orphans())["c1"]
    await reaping
    assert ended.pid == marked_pid
    assert lives(near)
    assert lives(os.getpid())


def test_a_process_with_a_strange_name_is_read(strangers: list[subprocess.Popen[bytes]]) -> None:
    code = "import ctypes, sys; ctypes.CDLL(None).prctl(15, b'a) S 1 (b\\n', 0, 0, 0)\n"
    code += "print('named', flush=True); sys.stdin.read()"
    made = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    strangers.append(made)
    assert made.stdout is not None
    made.stdout.readline()
    seen = process(made.pid)
    assert seen is not None
    assert (seen.name, seen.ppid) == ("a) S 1 (b\n", os.getpid())
    assert made.pid in processes()
    made.communicate()


def seen(pid: int, ppid: int, pgid: int, sid: int, started: int) -> Seen:
    return Seen(pid=pid, ppid=ppid, pgid=pgid, sid=sid, started=started, cpu_s=0, name="x")


PIDS = st.integers(2, 9)
TABLES = st.dictionaries(
    PIDS, st.tuples(st.integers(0, 9), PIDS, PIDS, st.integers(1, 5)), max_size=8
).map(lambda rows: {pid: seen(pid, *row) for pid, row in rows.items()})


@given(TABLES, PIDS, st.integers(1, 5), st.sets(PIDS))
def test_nobody_is_an_orphan_without_proof(
    table: dict[int, Seen], pid: int, started: int, marks: set[int]
) -> None:
    record = Record(mark="m", command="c", boot="b", pid=pid, started=started)
    found = orphans(record, table, marks)
    assert found <= set(table)
    assert marks & set(table) <= found
    leader = table.get(pid)
    ours = (leader is not None and leader.started == started) or any(
        pid in (table[each].pgid, table[each].sid) for each in marks & set(table)
    )
    for each in found - marks:
        in_group = ours and pid in (table[each].pgid, table[each].sid)
        assert in_group or table[each].ppid in found
    if leader is not None and leader.started == started and leader.pgid == pid:
        assert pid in found
