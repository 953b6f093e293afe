"""Records what a real process does to chosen files of one folder: contents, order and syncs.

The process runs under strace, so it is the real program on the real SQLite library and the record
holds what reached the kernel, whoever called. What the process itself wants to stand in the record
(which commits have returned) it appends to a file of marks; those lines are in order with the rest.

It does not judge what would survive: see ``crash_model``.
"""

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from farshore_sim.faults.errors import RecordingError
from farshore_sim.faults.events import Event, Mark, Sync, SyncFailed, SyncFolder
from farshore_sim.faults.strace import strace
from farshore_sim.faults.trace import parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """``initial``: what was in the folder at the start, taken as durable."""

    events: Sequence[Event]
    initial: Mapping[str, bytes] = field(default_factory=dict)

    def marks(self, before: int | None = None) -> list[str]:
        """What the process had said before the event of this index; all without it."""
        return [event.text for event in self.events[:before] if isinstance(event, Mark)]


def continued(first: Recording, point: int, second: Recording) -> Recording:
    """``first`` up to an event, where its process was killed, and then another process.

    The second one began with the files as the kernel held them, not as they were on the disk.
    """
    later = (
        replace(event, since=event.since + point)
        if isinstance(event, Sync | SyncFailed | SyncFolder)
        else event
        for event in second.events
    )
    return Recording(events=[*first.events[:point], *later], initial=first.initial)


_CALLS = (
    "openat,?open,?creat,pwrite64,write,ftruncate,?truncate,fsync,fdatasync,?unlink,unlinkat,"
    "?rename,renameat,?renameat2,msync,mmap,pwritev,writev,fallocate,copy_file_range,sendfile"
)


def record(
    argv: Sequence[str],
    *,
    folder: Path,
    names: Sequence[str],
    marks: Path,
    inject: str | None = None,
    timeout_s: float = 120.0,
) -> Recording:
    """Runs ``argv`` to its end and returns what it did to the files ``names`` of ``folder``.

    ``inject``: calls that are to fail, as strace writes it, ``fdatasync:error=EIO:when=5..8``.
    Raises RecordingError when the process fails or uses a call that is not modelled on them.
    """
    folder, marks = folder.resolve(), marks.resolve()
    initial = {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch, "trace")
        traced = [strace(), "-f", "-qq", "-y", "-xx", "-s", str(1 << 26), "--seccomp-bpf"]
        traced += ["-e", "signal=none", "-e", f"trace={_CALLS}", "-o", str(log)]
        traced += [*(["-e", f"inject={inject}"] if inject else []), "--", *argv]
        try:
            done = subprocess.run(traced, capture_output=True, timeout=timeout_s, check=False)  # noqa: S603 - the caller's own program
        except subprocess.TimeoutExpired as exc:
            raise RecordingError(f"{argv[0]} did not end within {timeout_s:g} s") from exc
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip()[-2000:]
            raise RecordingError(f"{argv[0]} ended with exit code {done.returncode}: {said}")
        with log.open(encoding="ascii", errors="replace") as lines:
            events = parse(lines, folder=folder, names=names, marks=marks, present=initial)
    return Recording(events=events, initial=initial)
