"""Whether the kernel's log says that a container was ended because of its memory limit.

Podman with control groups of version 1 misses it on newer kernels; the kernel names the group, and the
group's name holds the container's id.
"""

import contextlib
import os
from pathlib import Path

KMSG = Path("/dev/kmsg")
RECORD_BYTES = 8192
_MARK = "oom-kill:"


def names(line: str, container: str) -> bool:
    """Whether a line of the log tells of this container (its whole id). Pure."""
    return (
        _MARK in line and "CONSTRAINT_MEMCG" in line and len(container) >= 12 and container in line
    )


def tells_of(container: str, log: Path = KMSG) -> bool:
    """Reads what the kernel still has of its log; False where it may not be read."""
    with contextlib.suppress(OSError):
        handle = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
        try:
            while True:
                try:
                    record = os.read(handle, RECORD_BYTES)
                except BrokenPipeError:
                    continue  # it was overwritten before it was read
                if not record:
                    return False
                if names(record.decode(errors="replace"), container):
                    return True
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
    return False
