"""Who is of a run, and the end of all of them. As ``drivers/ending.py`` at the agent."""

import _signal as signal  # type: ignore[import-not-found] # as ``signal``, with a quarter less memory
import os
import time

from farshore_edge.tasks.drivers.shim.options import Options
from farshore_edge.tasks.drivers.shim.system import bytes_of, put, read

KILL_ROUNDS = 250
PAUSE_S = 0.02
PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Whoever the run leaves without a parent becomes the shim's child, so that it is found. Where there
    are control groups they know better, and the megabyte for it is saved."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        return


def end_all(leader: int, options: Options) -> None:
    """SIGKILL until nobody of the run is found."""
    for _ in range(KILL_ROUNDS):
        kill_groups(options)
        found = members(leader, options)
        if not found:
            return
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        time.sleep(PAUSE_S)


def kill_groups(options: Options) -> None:
    """All at once, so that none forks away: by the group's own word, or frozen meanwhile."""
    for file in options.several["kill"]:
        try:
            put(file, "1")
        except OSError:
            continue
    freezer = options.plain.get("freezer")
    if freezer is None:
        return
    try:
        put(freezer, "FROZEN")
    except OSError:
        return
    try:
        for pid in caged(options):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
    finally:
        put(freezer, "THAWED")


def caged(options: Options) -> set[int]:
    """Who is in its control groups."""
    words = (word for file in options.several["procs"] for word in read(file).split())
    return {int(word) for word in words} - {0, 1, os.getpid()}


def members(leader: int, options: Options) -> set[int]:
    """Who is of the run: its control group, its session, whoever has its mark, and their children; and
    what was handed to the shim because its own parent has ended (``adopt_orphans``)."""
    found = caged(options) | {os.getpid()}
    mark = options.plain["mark"].encode()
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        words = read(f"/proc/{entry}/stat").rpartition(")")[2].split()
        if len(words) < 20 or words[0] in "ZX":
            continue
        pid = int(entry)
        parents[pid] = int(words[1])
        if leader in (int(words[2]), int(words[3])) or _is_marked(entry, mark):
            found.add(pid)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found & parents.keys() - {os.getpid()}


def _is_marked(entry: str, mark: bytes) -> bool:
    try:
        file = os.open(f"/proc/{entry}/environ", os.O_RDONLY)
    except OSError:
        return False
    try:
        return mark in bytes_of(file).split(b"\0")
    finally:
        os.close(file)
