"""Killing a process while it writes: the kernel says when its file changes, and the kill follows.

SIGKILL loses nothing that the kernel was given; what it can tear is the order of things in a
program: a transaction of which a part was written, one that is committed and answered to nobody, an
acknowledgement that was not sent. Linux only.
"""

import ctypes
import os
import platform
import select
import signal
import struct
import time
from dataclasses import dataclass
from pathlib import Path

IN_MODIFY = 0x2
_EVENT = struct.Struct("iIII")
_WRITES = {
    "x86_64": {"1": "write", "18": "pwrite", "74": "fsync", "75": "fdatasync", "77": "ftruncate"},
    "aarch64": {"64": "write", "68": "pwrite", "82": "fsync", "83": "fdatasync", "46": "ftruncate"},
}.get(platform.machine(), {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """``on_write``: it followed a write to the file; ``call``: what a thread of it was just doing."""

    on_write: bool
    call: str | None


class FileWatch:
    """Changes of one file, which need not exist yet, in a folder that does."""

    def __init__(self, file: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._name = file.name.encode()
        self._fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        if libc.inotify_add_watch(self._fd, bytes(file.parent), IN_MODIFY) < 0:
            number = ctypes.get_errno()
            os.close(self._fd)
            raise OSError(number, "inotify_add_watch", str(file.parent))
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def close(self) -> None:
        os.close(self._fd)

    def forget(self) -> None:
        """What has changed until now counts no more."""
        while self._poll.poll(0):
            os.read(self._fd, 65_536)

    def wait(self, count: int, deadline_s: float) -> bool:
        """Whether it changed ``count`` times before the deadline."""
        while count > 0:
            left_ms = (deadline_s - time.monotonic()) * 1000
            if left_ms <= 0 or not self._poll.poll(left_ms):
                return False
            count -= self._changes(os.read(self._fd, 65_536))
        return True

    def _changes(self, events: bytes) -> int:
        found = at = 0
        while at < len(events):
            *_, size = _EVENT.unpack_from(events, at)
            name = events[at + _EVENT.size : at + _EVENT.size + size].rstrip(b"\0")
            found += name == self._name
            at += _EVENT.size + size
        return found


def strike(pid: int, watch: FileWatch, *, writes: int, lag_s: float, within_s: float) -> Strike:
    """Kills a child of ours ``lag_s`` after so many writes, or when they take too long. Blocks."""
    watch.forget()
    on_write = watch.wait(writes, time.monotonic() + within_s)
    if on_write and lag_s > 0:
        time.sleep(lag_s)
    call = writing(pid)
    os.kill(pid, signal.SIGKILL)
    return Strike(on_write=on_write, call=call)


def writing(pid: int) -> str | None:
    """Which writing system call a thread of the process is in, if one is."""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            number = Path(f"/proc/{pid}/task/{thread}/syscall").read_text().split(maxsplit=1)[0]
            if number in _WRITES:
                return _WRITES[number]
    except OSError:  # it ended, or we may not look
        return None
    return None
