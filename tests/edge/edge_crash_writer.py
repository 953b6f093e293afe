"""A process to be killed: writes records by the outbox's rules and says which are durable."""

import asyncio
import sys
from pathlib import Path

from farshore_edge.database import Change, Record, SqliteDatabase
from farshore_protocol.ids import Ids, system_rng


async def main(path: Path, life: str) -> None:
    database = SqliteDatabase(path, Ids(system_rng()))
    head = database.streams()["events"].head

    async def write(seq: int) -> None:
        payload = f"life-{life}-seq-{seq}"
        record = Record(stream="events", seq=seq, path="evt/test", payload=payload.encode())
        await database.commit(Change(records=[record]))
        sys.stdout.write(f"{seq} {payload}\n")
        sys.stdout.flush()

    while True:
        await asyncio.gather(*(write(head + n) for n in range(1, 6)))
        head += 5


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
