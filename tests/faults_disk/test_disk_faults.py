"""The faults really happen, to the files that are meant, for as long as they are meant to."""

import asyncio
import errno
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from farshore_sim.faults.disk import (
    READ_FAILS,
    READ_ONLY,
    SYNC_FAILS,
    DiskFault,
    SmallDisk,
    database_paths,
    inject,
    injected_argv,
    slow,
)
from farshore_sim.faults.errors import FaultError

pytestmark = pytest.mark.processes

DEADLINE_S = 45.0

_VICTIM = """
import os, sys, time
files = {path: os.open(path, os.O_RDWR | os.O_CREAT) for path in sys.argv[1:]}
print("ready", flush=True)
for line in sys.stdin:
    what, path = line.split()
    started = time.monotonic()
    try:
        if what == "write":
            os.pwrite(files[path], b"x" * 65536, os.fstat(files[path]).st_size)
        elif what == "read":
            os.pread(files[path], 10, 0)
        else:
            os.fdatasync(files[path])
        code = 0
    except OSError as exc:
        code = exc.errno
    print(code, time.monotonic() - started, flush=True)
"""


class Victim:
    """A process that writes, reads and syncs as it is told, and says what came of it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, argv: list[str]) -> "Victim":
        pipe = asyncio.subprocess.PIPE
        victim = cls(await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe))
        assert await victim.line() == "ready"
        return victim

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), DEADLINE_S)).decode().strip()

    async def do(self, what: str, path: Path) -> tuple[int, float]:
        """The error number, 0 for none, and how long it took."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what} {path}\n".encode())
        code, seconds = (await self.line()).split()
        return int(code), float(seconds)

    async def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        await asyncio.wait_for(self.process.wait(), DEADLINE_S)


def victim_argv(*paths: Path) -> list[str]:
    return [sys.executable, "-c", _VICTIM, *map(str, paths)]


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Any]:
    """A victim with two files open: the one that is meant and another one."""
    meant, other = tmp_path / "meant", tmp_path / "other"
    victim = await Victim.start(victim_argv(meant, other))
    yield victim, meant, other
    await victim.end()


@pytest.mark.parametrize(
    ("fault", "what", "code"),
    [
        pytest.param(SYNC_FAILS, "sync", errno.EIO, id="a sync fails"),
        pytest.param(READ_ONLY, "write", errno.EROFS, id="writing is refused"),
        pytest.param(READ_FAILS, "read", errno.EIO, id="a read fails"),
    ],
)
async def test_a_fault_is_there_inside_of_the_block_on_the_file_that_is_meant(
    bed: Any, fault: DiskFault, what: str, code: int
) -> None:
    victim, meant, other = bed
    assert (await victim.do(what, meant))[0] == 0
    async with inject(victim.process.pid, fault, paths=[meant]) as injection:
        assert injection.met() == 0
        assert (await victim.do(what, meant))[0] == code
        assert (await victim.do(what, other))[0] == 0
        assert injection.met() == 1
    assert (await victim.do(what, meant))[0] == 0


async def test_some_calls_may_fail_and_later_ones_succeed(bed: Any) -> None:
    victim, meant, _ = bed
    fault = DiskFault(calls=("fdatasync",), error="EIO", first=2, last=3)
    async with inject(victim.process.pid, fault, paths=[meant]):
        codes = [(await victim.do("sync", meant))[0] for _ in range(4)]
    assert codes == [0, errno.EIO, errno.EIO, 0]


async def test_a_slow_disk_takes_its_time(bed: Any) -> None:
    victim, meant, _ = bed
    async with inject(victim.process.pid, slow(0.2), paths=[meant]) as injection:
        code, seconds = await victim.do("sync", meant)
        assert (code, injection.met()) == (0, 1)
    assert seconds >= 0.2


async def test_a_program_can_start_with_the_fault_and_keeps_its_process_id(tmp_path: Path) -> None:
    meant = tmp_path / "meant"
    argv, injection = injected_argv(
        victim_argv(meant), SYNC_FAILS, paths=[meant], log=tmp_path / "trace"
    )
    victim = await Victim.start(argv)
    assert _program(victim.process.pid) == _program(os.getpid())
    assert (await victim.do("sync", meant))[0] == errno.EIO
    assert injection.met() == 1
    await victim.end()


def _program(pid: int) -> Path:
    return Path(f"/proc/{pid}/exe").resolve()


async def test_a_process_that_is_not_there_is_said_so() -> None:
    done = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await done.wait()
    with pytest.raises(FaultError, match="can't attach"):
        async with inject(done.pid, SYNC_FAILS, paths=[Path("/nowhere")]):
            pass


@pytest.fixture
def small(tmp_path: Path) -> Any:
    try:
        disk = SmallDisk(tmp_path / "small", 512 * 1024).__enter__()
    except FaultError as exc:
        pytest.skip(f"mounting is not allowed here: {exc}")
    yield disk
    disk.__exit__(None, None, None)
    assert not os.path.ismount(disk.path)


async def test_a_small_disk_is_full_until_it_is_freed(small: SmallDisk) -> None:
    file = small.path / "file"
    victim = await Victim.start(victim_argv(file))
    assert (await victim.do("write", file))[0] == 0
    small.fill(leave_bytes=65536)
    assert (await victim.do("write", file))[0] == 0
    assert (await victim.do("write", file))[0] == errno.ENOSPC
    small.free()
    assert (await victim.do("write", file))[0] == 0
    await victim.end()


def test_a_small_disk_can_be_read_only_for_a_while(small: SmallDisk) -> None:
    small.read_only()
    with pytest.raises(OSError, match="Read-only"):
        (small.path / "file").write_text("x")
    small.read_only(on=False)
    (small.path / "file").write_text("x")


def test_the_files_of_a_database(tmp_path: Path) -> None:
    assert [path.name for path in database_paths(tmp_path / "agent.db")] == [
        "agent.db",
        "agent.db-wal",
        "agent.db-journal",
    ]
