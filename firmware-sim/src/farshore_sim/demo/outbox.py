"""Looks into the outbox of this machine's agent while its link is cut: the file, read only."""

import sqlite3
from pathlib import Path


def waiting_records(database: Path) -> int:
    """Metric records that lie in the agent's outbox."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5) as connection:
        (count,) = connection.execute(
            "SELECT count(*) FROM record WHERE stream = 'metrics'"
        ).fetchone()
    connection.close()
    return int(count)
