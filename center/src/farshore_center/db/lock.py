"""One center per data directory.

Holds a file lock for as long as the database is open. The kernel releases it when the process
ends, however it ends, so there is no stale lock to clean up. It does not guard a network file
system, and a database server needs none: there, leases fence the decisions.
"""

import fcntl
import os
from pathlib import Path

from farshore_center.db.errors import DatabaseError, DirectoryInUseError

LOCK_NAME = "farshore-center.lock"


class DirectoryLock:
    """An exclusive lock on a data directory; the lock file names the process that holds it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_NAME
        self._fd: int | None = None

    def acquire(self) -> None:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise DatabaseError(f"cannot open the lock file {self._path}: {exc.strerror}") from exc
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise DirectoryInUseError(
                f"the data directory {self._path.parent} is in use by another center "
                f"(process {holder}); stop that one or choose another directory"
            ) from exc
        except OSError as exc:
            os.close(fd)
            raise DatabaseError(f"cannot lock {self._path}: {exc.strerror}") from exc
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode("ascii"), 0)
        self._fd = fd

    def release(self) -> None:
        # The file stays: removing it would let two processes lock two different files.
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
