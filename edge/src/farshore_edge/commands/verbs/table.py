"""The processes of this machine as ``/proc`` has them: who belongs together, and what it uses.

Where there is no ``/proc`` nothing is seen.
"""

import contextlib
import os
import signal
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

TICKS_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PROC = "/proc"
SHORT_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """``started``: in ticks since the machine's start; with ``pid`` it names a process for good.
    ``cpu_s``: of its own and of those that it has waited for."""

    pid: int
    ppid: int
    pgid: int
    sid: int
    started: int
    cpu_s: float
    name: str


Table = Mapping[int, Seen]


def processes() -> dict[int, Seen]:
    """All that live; a zombie does not."""
    found = {}
    with contextlib.suppress(OSError):
        for entry in os.listdir(PROC):
            if entry.isdecimal():
                seen = process(int(entry))
                if seen is not None:
                    found[seen.pid] = seen
    return found


def process(pid: int) -> Seen | None:
    try:
        text = _read(f"{PROC}/{pid}/stat").decode(errors="replace")
    except OSError:
        return None
    # The name may hold anything, brackets and spaces included.
    name, _, rest = text.partition("(")[2].rpartition(")")
    words = rest.split()
    if len(words) < 20 or words[0] in "ZX":
        return None
    return Seen(
        pid=pid,
        ppid=int(words[1]),
        pgid=int(words[2]),
        sid=int(words[3]),
        started=int(words[19]),
        cpu_s=sum(map(int, words[11:15])) / TICKS_S,
        name=name,
    )


def _read(path: str) -> bytes:
    """A short file of the kernel's, in one read: half the system calls of a file object."""
    file = os.open(path, os.O_RDONLY)
    try:
        return os.read(file, SHORT_BYTES)
    finally:
        os.close(file)


def childless(pid: int) -> bool:
    """Whether a process surely has no children now; not so where the kernel does not tell."""
    try:
        tasks = os.listdir(f"{PROC}/{pid}/task")
        return not any(_read(f"{PROC}/{pid}/task/{task}/children") for task in tasks)
    except OSError:
        return not os.path.exists(f"{PROC}/{pid}")


def own_memory_bytes(pids: Iterable[int]) -> int:
    """What these processes hold in memory and share with nobody's file."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError), open(f"{PROC}/{pid}/statm", "rb") as file:
            words = file.read().split()
            pages += max(int(words[1]) - int(words[2]), 0)
    return pages * PAGE_BYTES


def marked(variable: str) -> frozenset[int]:
    """Processes that were started with ``variable`` (``NAME=value``) in their environment."""
    wanted = variable.encode()
    found = set()
    with contextlib.suppress(OSError):
        for entry in os.listdir(PROC):
            if not entry.isdecimal():
                continue
            with contextlib.suppress(OSError), open(f"{PROC}/{entry}/environ", "rb") as file:
                if wanted in file.read().split(b"\0"):
                    found.add(int(entry))
    return frozenset(found)


def family(table: Table, leader: int) -> set[int]:
    """The group and the session of a process, and whoever descends from one of them."""
    return descendants(table, {s.pid for s in table.values() if leader in (s.pgid, s.sid)})


def descendants(table: Table, known: Collection[int]) -> set[int]:
    """These and their children and children's children."""
    found = set(known)
    while True:
        more = {seen.pid for seen in table.values() if seen.ppid in found} - found
        if not more:
            return found
        found |= more


def tell(seen: Seen, number: signal.Signals) -> bool:
    """A signal to exactly this process, never to another that has its number by now; whether it
    could be told."""
    try:
        handle = os.pidfd_open(seen.pid)
    except OSError:
        return False
    try:
        now = process(seen.pid)
        if now is None or now.started != seen.started:
            return False
        signal.pidfd_send_signal(handle, number)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def lives(seen: Seen) -> bool:
    now = process(seen.pid)
    return now is not None and now.started == seen.started
