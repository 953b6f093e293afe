"""A bad disk for a real process: full, failing, read-only or slow, and well again.

Two ways. ``SmallDisk`` is a real file system of a few megabytes (a tmpfs; needs the right to mount):
it is full by the kernel's own rules. ``inject`` lets chosen calls of a running process on chosen files
fail or take long (strace), from one moment to another, where no real disk would be so obliging;
``injected_argv`` does so from a process's first call on. Each tells how often the fault was met: a
fault that never happened proves nothing.
"""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from farshore_sim.faults.errors import FaultError
from farshore_sim.faults.strace import attached, strace

_SYNCS = ("fsync", "fdatasync")
_WRITES = ("pwrite64", "write", "ftruncate", "fallocate")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFault:
    """``error``: what the calls fail with, by its name in errno; ``delay_s``: how long they take.

    ``first`` and ``last``: of each of the calls, those that are met, counted from 1 in each thread.
    """

    calls: Sequence[str]
    error: str | None = None
    delay_s: float = 0.0
    first: int = 1
    last: int | None = None

    def options(self, paths: Iterable[Path], log: Path) -> list[str]:
        names = ",".join(self.calls)
        last = "+" if self.last is None else f"..{self.last}"
        what = f":error={self.error}" if self.error else ""
        # Before the call, not after it: a caller must not see its effect and then wait.
        what += f":delay_enter={int(self.delay_s * 1e6)}" if self.delay_s else ""
        when = f":when={self.first}{last}"
        options = ["-f", "-e", "signal=none", "-e", f"trace={names}", "-o", str(log), "-s", "0"]
        for path in paths:
            options += ["-P", str(path)]
        return [*options, "-e", f"inject={names}{what}{when}"]


FULL = DiskFault(calls=_WRITES, error="ENOSPC")
"""Every write fails; a real full disk lets those pass that need no new block: see ``SmallDisk``."""

SYNC_FAILS = DiskFault(calls=_SYNCS, error="EIO")
WRITE_FAILS = DiskFault(calls=_WRITES, error="EIO")
READ_FAILS = DiskFault(calls=("pread64", "read"), error="EIO")
READ_ONLY = DiskFault(calls=_WRITES, error="EROFS")
"""As after an error that made the kernel mount it read-only under a process that has files open."""


def slow(seconds: float) -> DiskFault:
    """Every write and sync takes this long."""
    return DiskFault(calls=(*_SYNCS, *_WRITES), delay_s=seconds)


def database_paths(path: Path) -> list[Path]:
    """The files of a SQLite database that are written by calls."""
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-journal")]


class Injection:
    """A fault at work. ``met``: how many calls it has hit so far."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def met(self) -> int:
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return sum("(INJECTED)" in line or "(DELAYED)" in line for line in text.splitlines())


def injected_argv(
    argv: Sequence[str], fault: DiskFault, *, paths: Iterable[Path], log: Path
) -> tuple[list[str], Injection]:
    """``argv`` to be started with the fault in place; its process id is the program's own."""
    return [strace(), "-D", "-qq", *fault.options(paths, log), "--", *argv], Injection(log)


@contextlib.asynccontextmanager
async def inject(pid: int, fault: DiskFault, *, paths: Iterable[Path]) -> AsyncIterator[Injection]:
    """The fault is there inside of the block, for every thread of the process; then it is gone."""
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch, "trace")
        async with attached(pid, fault.options(paths, log)):
            yield Injection(log)


class SmallDisk:
    """A tmpfs at ``path`` of ``size_bytes``; mounted inside of the ``with`` block."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self._size_bytes = size_bytes
        self._ballast = path / "ballast"

    def __enter__(self) -> "SmallDisk":
        self.path.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={self._size_bytes}", "tmpfs", str(self.path))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Lazily: it goes even while a process that the caller forgot holds a file on it.
        _run("umount", "-l", str(self.path))

    def fill(self, leave_bytes: int = 0) -> None:
        """Afterwards this much is free, and no more."""
        free = self._free_bytes() - leave_bytes
        with self._ballast.open("ab") as ballast:
            try:
                ballast.write(bytes(max(0, free)))
                ballast.flush()
            except OSError as exc:
                raise FaultError(f"{self.path} can't be filled: {exc.strerror}") from exc

    def free(self) -> None:
        """Takes back what ``fill`` took."""
        self._ballast.unlink(missing_ok=True)

    def read_only(self, *, on: bool = True) -> None:
        """The kernel refuses while a file on it is open for writing: use READ_ONLY then."""
        _run("mount", "-o", "remount," + ("ro" if on else "rw"), str(self.path))

    def _free_bytes(self) -> int:
        about = os.statvfs(self.path)
        return about.f_bavail * about.f_frsize


def _run(*argv: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603 - fixed programs
    except OSError as exc:
        raise FaultError(f"{argv[0]}: {exc.strerror}") from exc
    if done.returncode != 0:
        raise FaultError(f"{' '.join(argv)}: {done.stderr.strip()}")
