"""Compacts and merges, killed at the n-th change or commit, for n = 1, 2, 3 … until it survives.

Run by test_compaction_crash.py in a process of its own. Prints, for each n, whether the round
survived and what the history answered afterwards.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from farshore_center.db.database import Database
from farshore_center.telemetry import history, inbox, store
from farshore_center.telemetry.samples import Batch
from farshore_center.telemetry.service import HistorySettings, TelemetryHistory
from sqlalchemy import Engine, create_engine, event

T0_MS = 1_763_830_000_000
SETTINGS = HistorySettings(
    compact_batches=1,
    compaction=store.CompactionSettings(max_batches=2, window_s=86_400, target_samples=100),
)
ROUNDS = 5


async def prepare(path: Path) -> None:
    """Five rounds make four small chunks and merge them: every kind of statement occurs."""
    database = Database(f"sqlite:///{path}")
    await database.start()
    rows = [
        inbox.pack(
            "n1",
            Batch(ts_ms=T0_MS + n * 60_000, dt_ms=[0, 5000], series={"cpu": [float(n), None]}),
            received_ms=T0_MS,
        )
        for n in range(10)
    ]
    await database.write(lambda connection: store.insert_batches(connection, rows))
    await database.stop()


async def tidy(path: Path, die_at: int) -> None:
    database = Database(f"sqlite:///{path}")
    await database.start()
    left = [die_at]

    def step() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def statement(_connection: object, _cursor: object, sql: str, *_rest: object) -> None:
        if not sql.startswith(("SELECT", "PRAGMA", "BEGIN")):
            step()

    event.listen(Engine, "after_cursor_execute", statement)
    event.listen(Engine, "commit", lambda _connection: step())
    telemetry = TelemetryHistory(database, lambda: T0_MS, SETTINGS)
    for _ in range(ROUNDS):
        await telemetry.tidy()
    await database.stop()


def in_child(work: Callable[[], None]) -> bool:
    """False when the child was killed."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    _pid, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, -signal.SIGKILL):
        sys.exit(f"the child ended with {code}")
    return code == 0


def answer(path: Path) -> list[list[float | None]]:
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        cpu = history.query(connection, "n1", None, 0, 2**50).series["cpu"]
    engine.dispose()
    values = [None if value != value else value for value in cpu.values.tolist()]
    return [list(point) for point in zip(cpu.t_ms.tolist(), values, strict=True)]


def main() -> None:
    folder = Path(sys.argv[1])
    prepared = folder / "prepared"
    in_child(lambda: asyncio.run(prepare(prepared / "center.db")))
    results: list[tuple[bool, list[list[float | None]]]] = []
    survived = False
    while not survived:
        path = folder / str(len(results) + 1) / "center.db"
        shutil.copytree(prepared, path.parent)
        survived = in_child(lambda path=path: asyncio.run(tidy(path, len(results) + 1)))  # type: ignore[misc]
        results.append((survived, answer(path)))
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
