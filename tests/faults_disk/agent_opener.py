"""A process to be recorded: an agent that starts after a kill, looks, and dies before it writes.

What it sees it may tell the center: so it says that as many changes are answered.
"""

import asyncio
import os
import random
import sys
from pathlib import Path

from farshore_edge.database import SqliteDatabase
from farshore_protocol.ids import Ids
from farshore_sim.faults.agent_workload import picture, pictures
from farshore_sim.faults.powerloss import Load


async def main(path: Path, marks: Path, seed: int, changes: int) -> None:
    held = [each async for each in pictures(Load(seed=seed, changes=changes))]
    told = os.open(marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    database = SqliteDatabase(path, Ids(random.Random(99)))
    os.write(told, b"answered %d\n" % held.index(picture(database)))
    os._exit(0)


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
