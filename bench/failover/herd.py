"""``python -m bench.failover.herd``: simulated nodes in processes of their own, made by forking.

It reads a line of JSON for each group of nodes (``Members``) and answers with the id of its process. A
forked process has everything imported and shares its memory, so that a hundred of them are cheap; each
ends with this one. A process takes datagrams at its socket: the id of a run that is to be killed.
"""

import asyncio
import ctypes
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import msgspec
from farshore_edge.tasks.drivers.model import Work
from farshore_protocol import garbage
from farshore_protocol.clock import SystemClock
from farshore_sim.fleet import Fleet, FleetSettings
from farshore_sim.fleet.tasks import Run, Workshop

from bench.failover.journal import Pen

_PR_SET_PDEATHSIG = 1


class Members(msgspec.Struct, frozen=True, kw_only=True):
    """The nodes of one process: ``nodes`` of them from number ``first``. ``journal``: where they write
    what began; ``orders``: the path of its socket."""

    center: str
    prefix: str
    first: int
    nodes: int
    heartbeat_s: float
    journal: str
    orders: str


class TellingWorkshop(Workshop):
    """Writes down when a run begins."""

    def __init__(self, node: str, pen: Pen, clock: SystemClock) -> None:
        super().__init__(clock.monotonic_s)
        self._node = node
        self._pen = pen

    def begin(self, work: Work) -> Run:
        run = super().begin(work)
        self._pen.began(self._node, work.id)
        return run


class TellingFleet(Fleet):
    def __init__(self, settings: FleetSettings, pen: Pen, clock: SystemClock) -> None:
        self._pen = pen
        self._own_clock = clock
        super().__init__(settings, clock=clock)

    def workshop(self, name: str) -> Workshop:
        made = self._workshops.get(name)
        if made is None:
            made = self._workshops[name] = TellingWorkshop(name, self._pen, self._own_clock)
        return made

    def kill(self, run_id: str) -> None:
        for workshop in self._workshops.values():
            if workshop.kill(run_id):
                return


def listening(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # of the process before
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(path))
    made.setblocking(False)
    return made


async def live(members: Members) -> None:
    """Until the process is killed."""
    settings = FleetSettings(
        nodes=members.nodes,
        center=members.center,
        prefix=members.prefix,
        first=members.first,
        heartbeat_s=members.heartbeat_s,
        starts_per_s=50,
    )
    fleet = TellingFleet(settings, Pen(Path(members.journal)), SystemClock())
    orders = listening(Path(members.orders))
    await fleet.start()
    garbage.settle()
    loop = asyncio.get_running_loop()
    while True:
        fleet.kill((await loop.sock_recv(orders, 256)).decode())


def born(members: Members, parent: int) -> NoReturn:
    """The life of a forked process."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call
        os._exit(1)
    # Ctrl-C reaches the bench alone.
    os.setsid()
    sys.stdin.close()
    try:
        asyncio.run(live(members))
    except Exception:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


def main() -> int:
    """Until standard input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    garbage.settle()
    parent = os.getpid()
    for line in sys.stdin.buffer:
        members = msgspec.json.decode(line, type=Members)
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            born(members, parent)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
