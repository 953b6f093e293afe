"""Writes until it is killed, again and again; run by test_crash.py in a process of its own.

Each round forks a child that opens the database and lets several writers insert rows; the child
says each row's number on a pipe after the write was answered. Once enough has been said, the
child is killed by SIGKILL in the middle of its work. Prints all that was answered, as JSON.
"""

import asyncio
import json
import os
import random
import signal
import sys
from functools import partial

from farshore_center.db.database import Database
from sqlalchemy import Connection, text

WRITERS = 12


async def write_forever(url: str, first: int, pipe: int) -> None:
    database = Database(url)
    await database.start()

    def create(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE IF NOT EXISTS rows (n INTEGER PRIMARY KEY)"))

    await database.write(create)

    def insert(n: int, connection: Connection) -> None:
        connection.execute(text("INSERT INTO rows (n) VALUES (:n)"), {"n": n})

    async def writer(start: int) -> None:
        for n in range(start, first + 1_000_000, WRITERS):
            await database.write(partial(insert, n))
            os.write(pipe, b"%d\n" % n)

    await asyncio.gather(*(writer(first + n) for n in range(WRITERS)))


def crash_once(url: str, first: int, enough: int) -> list[int]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        asyncio.run(write_forever(url, first, writing))
        os._exit(1)
    os.close(writing)
    said = b""
    while said.count(b"\n") < enough and (part := os.read(reading, 65536)):
        said += part
    os.kill(child, signal.SIGKILL)
    while part := os.read(reading, 65536):
        said += part
    os.close(reading)
    _pid, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        sys.exit("the writer ended by itself")
    return [int(line) for line in said.splitlines()]


def main() -> None:
    url, rounds = sys.argv[1], int(sys.argv[2])
    seeded = random.Random(7)
    answered = []
    for number in range(rounds):
        answered += crash_once(url, number * 1_000_000, seeded.randint(1, 400))
    json.dump(answered, sys.stdout)


if __name__ == "__main__":
    main()
