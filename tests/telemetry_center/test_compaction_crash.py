"""A compaction that is killed at any change or commit loses nothing and doubles nothing."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.processes
def test_a_compaction_killed_at_any_statement_changes_no_answer(tmp_path: Path) -> None:
    script = Path(__file__).with_name("crash_compaction.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    t0_ms = results[0][1][0][0]
    expected = [
        [t0_ms + n * 60_000 + offset, value]
        for n in range(10)
        for offset, value in ((0, float(n)), (5000, None))
    ]
    assert [answer for _survived, answer in results] == [expected] * len(results)
    deaths = [survived for survived, _answer in results].count(False)
    assert deaths == 6 * 3, "insert, delete and commit of five compactions and a merge"
    connection = sqlite3.connect(tmp_path / str(len(results)) / "center.db")
    try:
        assert connection.execute("SELECT count(*) FROM telemetry_batch").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM telemetry_chunk").fetchone() == (2,)
    finally:
        connection.close()
