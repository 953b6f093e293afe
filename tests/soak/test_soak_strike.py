"""Kills land where they are meant to: on a write, with the transaction begun."""

import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from soak.moment import AGENT, CENTER, After, Habits, choose
from soak.strike import FileWatch, strike, writing
from soak.wal import begun_frames

WRITER = """
import sys
with open(sys.argv[1], "ab", buffering=0) as file:
    for line in sys.stdin:
        file.write(b"x")
        sys.stdout.write(line)
        sys.stdout.flush()
"""
DEADLINE_S = 60.0


def test_it_strikes_after_so_many_writes(tmp_path: Path) -> None:
    file = tmp_path / "written"
    watch = FileWatch(file)
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", WRITER, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout, ThreadPoolExecutor(1) as threads:
        process.stdin.write(b"1\n")
        process.stdout.read(1)  # so it has been written, and is not to count
        struck = threads.submit(
            strike, process.pid, watch, writes=3, lag_s=0.0, within_s=DEADLINE_S
        )
        while not struck.done():
            with suppress(BrokenPipeError):
                process.stdin.write(b"2\n")
            process.stdout.read(1)
        assert struck.result().on_write
    assert process.wait() == -9
    assert file.stat().st_size >= 1 + 3
    watch.close()


def test_without_writes_it_strikes_all_the_same(tmp_path: Path) -> None:
    watch = FileWatch(tmp_path / "never")
    process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    assert not strike(process.pid, watch, writes=1, lag_s=0, within_s=0.01).on_write
    assert process.wait() == -9
    assert process.stdin is not None
    process.stdin.close()
    watch.close()


def test_a_watch_counts_writes_to_its_file_alone(tmp_path: Path) -> None:
    watch = FileWatch(tmp_path / "file")
    (tmp_path / "another").write_text("x")
    assert not watch.wait(1, 0), "nothing was written to it"
    (tmp_path / "file").write_text("x")
    assert watch.wait(1, time.monotonic() + DEADLINE_S)
    watch.close()


def test_who_has_ended_is_in_no_call() -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    assert writing(process.pid) is None


@pytest.fixture
def log(tmp_path: Path) -> bytes:
    """A write-ahead log of two transactions, the second one of several pages."""
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA wal_autocheckpoint=0")
        database.execute("CREATE TABLE t (x)")
        database.execute("INSERT INTO t VALUES (?)", ["y" * 20_000])
        return Path(shutil.copy(f"{path}-wal", tmp_path / "copy")).read_bytes()


def test_a_log_between_two_transactions_has_none_begun(log: bytes) -> None:
    assert begun_frames(log) == 0
    assert begun_frames(b"") == 0
    assert begun_frames(log[:32]) == 0


def test_a_log_that_ends_within_a_transaction_has_one_begun(log: bytes) -> None:
    frame = 24 + int.from_bytes(log[8:12], "big")
    assert begun_frames(log[:-frame]) > 0
    assert begun_frames(log[: -frame + 100]) > 0, "a frame that is torn is begun, too"


@pytest.mark.parametrize("habits", [AGENT, CENTER], ids=["agent", "center"])
def test_every_kind_of_moment_comes_in_its_share(habits: Habits) -> None:
    rng = random.Random(3)
    moments = [choose(rng, habits) for _ in range(2000)]
    found = Counter(moment.after for moment in moments)
    for after, share in habits.shares.items():
        assert found[after] == pytest.approx(2000 * share, rel=0.25)
    assert sum(habits.shares.values()) == pytest.approx(1)
    assert all((moment.writes > 0) == (moment.after is After.WRITE) for moment in moments)
