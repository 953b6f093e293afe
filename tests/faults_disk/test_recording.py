"""The record of a process is what it did, in order, and nothing that it did is left out quietly."""

import random
import sys
from pathlib import Path

import pytest
from farshore_sim.faults.crash_model import PAGE_BYTES, Disk, Survival
from farshore_sim.faults.errors import RecordingError
from farshore_sim.faults.events import (
    Create,
    Event,
    Mark,
    Rename,
    Sync,
    SyncFailed,
    SyncFolder,
    Truncate,
    Unlink,
    Write,
)
from farshore_sim.faults.recording import record
from farshore_sim.faults.trace import parse

FOLDER = Path("/d")


def hexed(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    return "".join(f"\\x{byte:02x}" for byte in data)


def read(
    *lines: str, names: tuple[str, ...] = ("f", "g"), present: tuple[str, ...] = ("f",)
) -> list[Event]:
    return parse(lines, folder=FOLDER, names=names, marks=Path("/marks"), present=present)


def fd(path: str) -> str:
    return f"3<{hexed(path)}>"


def test_calls_on_watched_files_become_events_and_others_do_not() -> None:
    assert read(
        f'7 pwrite64({fd("/d/f")}, "{hexed(b"a, b) = 9")}", 9, 4096) = 9',
        f'7 pwrite64({fd("/d/other")}, "{hexed(b"x")}", 1, 0) = 1',
        f'7 pwrite64({fd("/elsewhere/f")}, "{hexed(b"x")}", 1, 0) = 1',
        f"7 ftruncate({fd('/d/f')}, 12) = 0",
        f"7 fdatasync({fd('/d/f')}) = 0",
        f"7 fsync({fd('/d')}) = 0",
        f'7 write({fd("/marks")}, "{hexed("one") + hexed(chr(10)) + hexed("two")}", 7) = 7',
        f'7 unlink("{hexed("/d/f")}") = 0',
    ) == [
        Write(name="f", offset=4096, data=b"a, b) = 9"),
        Truncate(name="f", size=12),
        Sync(name="f", since=2),
        SyncFolder(since=3),
        Mark(text="one"),
        Mark(text="two"),
        Unlink(name="f"),
    ]


def test_a_short_write_counts_as_far_as_it_went_and_of_failed_calls_only_a_sync() -> None:
    assert read(
        f'7 pwrite64({fd("/d/f")}, "{hexed(b"abcd")}", 4, 0) = 2',
        f'7 pwrite64({fd("/d/f")}, "{hexed(b"abcd")}", 4, 0) = -1 ENOSPC (No space left on device)',
        f"7 fdatasync({fd('/d/f')}) = -1 EIO (Input/output error) (INJECTED)",
    ) == [Write(name="f", offset=0, data=b"ab"), SyncFailed(name="f", since=1)]


def test_a_sync_that_another_thread_interrupts_covers_what_was_before_it_was_called() -> None:
    assert read(
        f"7 fdatasync({fd('/d/f')} <unfinished ...>",
        f'8 pwrite64({fd("/d/f")}, "{hexed(b"a")}", 1, 0) = 1',
        "7 <... fdatasync resumed>)           = 0",
    ) == [Write(name="f", offset=0, data=b"a"), Sync(name="f", since=0)]


def test_opening_makes_a_file_once_and_empties_it_where_asked() -> None:
    def opened(name: str, flags: str) -> str:
        path = hexed(f"/d/{name}")
        return f'7 openat(AT_FDCWD<{hexed("/")}>, "{path}", {flags}, 0600) = 3<{path}>'

    assert read(
        opened("g", "O_RDWR|O_CREAT"),
        opened("g", "O_RDWR|O_CREAT"),
        opened("g", "O_RDWR|O_CREAT|O_TRUNC"),
        f'7 rename("{hexed("/d/g")}", "{hexed("/d/f")}") = 0',
        opened("g", "O_RDWR|O_CREAT|O_TRUNC"),
    ) == [
        Create(name="g"),
        Truncate(name="g", size=0),
        Rename(name="g", to="f"),
        Create(name="g"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(f'7 write({fd("/d/f")}, "{hexed(b"x")}", 1) = 1', id="at the file's position"),
        pytest.param(f"7 fallocate({fd('/d/f')}, 0, 0, 4096) = 0", id="allocated"),
        pytest.param(
            f"7 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, {fd('/d/f')}, 0) = 0x7f",
            id="mapped to be written",
        ),
    ],
)
def test_a_call_that_is_not_modelled_is_refused_on_a_watched_file(line: str) -> None:
    with pytest.raises(RecordingError, match="f is not modelled"):
        read(line)
    assert read(line, names=("g",)) == []


_PROGRAM = """
import os, sys
folder, marks = sys.argv[1:]
marks = os.open(marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
old = os.open(folder + "/old", os.O_RDWR)
new = os.open(folder + "/new", os.O_RDWR | os.O_CREAT)
os.pwrite(new, b"x" * 9000, 100)
os.write(marks, b"written\\n")
os.fsync(new)
os.pwrite(old, b"unsynced", 0)
os.ftruncate(new, 5000)
os.rename(folder + "/new", folder + "/last")
"""


@pytest.mark.processes
def test_a_real_process_is_recorded_and_all_of_it_gives_the_files_that_it_left(
    tmp_path: Path,
) -> None:
    folder, marks = tmp_path / "data", tmp_path / "marks"
    folder.mkdir()
    (folder / "old").write_bytes(b"what was there before")
    recording = record(
        [sys.executable, "-c", _PROGRAM, str(folder), str(marks)],
        folder=folder,
        names=("old", "new", "last"),
        marks=marks,
    )
    disk = Disk(recording.initial)
    for event in recording.events:
        disk.follow(event)
    left = {file.name: file.read_bytes() for file in folder.iterdir()}
    rng = random.Random(1)
    assert disk.after_power_loss(rng, Survival.EVERYTHING, PAGE_BYTES) == left
    assert disk.after_power_loss(rng, Survival.NOTHING, PAGE_BYTES) == {
        "old": b"what was there before"
    }
    assert recording.marks() == ["written"]
    assert recording.events.index(Mark(text="written")) == 2
    assert recording.marks(before=2) == []


@pytest.mark.processes
def test_a_process_that_fails_gives_no_record(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="exit code 3: no good"):
        record(
            [sys.executable, "-c", "import sys; sys.stderr.write('no good'); sys.exit(3)"],
            folder=tmp_path,
            names=("f",),
            marks=tmp_path / "marks",
        )
