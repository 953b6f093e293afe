"""An answered write survives kill -9, wherever it hits."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROUNDS = 20


@pytest.mark.processes
def test_every_answered_write_survives_being_killed_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "center.db"
    script = Path(__file__).with_name("crash_writer.py")
    done = subprocess.run(
        [sys.executable, str(script), f"sqlite:///{path}", str(ROUNDS)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answered = json.loads(done.stdout)
    connection = sqlite3.connect(path)
    try:
        kept = {n for (n,) in connection.execute("SELECT n FROM rows")}
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()
    assert {n // 1_000_000 for n in answered} == set(range(ROUNDS)), "each round was in mid-write"
    assert set(answered) <= kept
