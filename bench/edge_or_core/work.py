"""The program that the tasks run: reads its data over the way that its node has to it, computes, and says
how long each took. Standard library alone; started by ``python -I -S`` so that its start costs little.

``work.py ROUTES HOLDER BYTES UNITS``. ROUTES: a JSON file, node → ``{"slowness", "data": {holder: [host,
port]}}``; a slower machine does each unit so many times.
"""

import hashlib
import json
import os
import socket
import sys
import time
from pathlib import Path

UNIT_BYTES = 65_536
READ_BYTES = 262_144


def read(host: str, port: int, size: int) -> int:
    """Bytes that came."""
    came = 0
    with socket.create_connection((host, port), timeout=60) as link:
        link.sendall(f"{size}\n".encode())
        while came < size and (data := link.recv(READ_BYTES)):
            came += len(data)
    return came


def compute(units: int) -> str:
    block, found = bytes(UNIT_BYTES), hashlib.sha256()
    for _ in range(units):
        found.update(block)
    return found.hexdigest()


def main(routes: str, holder: str, size: int, units: int) -> int:
    mine = json.loads(Path(routes).read_text())[os.environ["FARSHORE_NODE"]]
    began_s = time.monotonic()
    host, port = mine["data"][holder]
    came = read(host, port, size)
    moved_s = time.monotonic() - began_s
    compute(units * mine["slowness"])
    told = {
        "bytes": came,
        "moved_s": round(moved_s, 4),
        "computed_s": round(time.monotonic() - began_s - moved_s, 4),
    }
    Path(os.environ["FARSHORE_RESULT"]).write_text(json.dumps(told))
    return 0 if came == size else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
