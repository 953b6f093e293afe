"""What a shim leaves of a run in the instance's ``state`` folder, as the agent reads it."""

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from farshore_edge.tasks.drivers.model import Exit, Work

MARK = "FARSHORE_TASK_MARK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What a shim has written of a run: its own process and the program's."""

    number: int
    shim_pid: int
    shim_started: int
    pid: int
    started: int
    boot: str


def mark_of(work: Work) -> str:
    """Of each process of the instance, in its environment."""
    return f"{MARK}={work.state.parent}"


def number_of(state: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int((state / "number").read_text("ascii"))
    return 0


def begin(state: Path) -> int:
    """The number of the next run; a shim with another one begins nothing from now on."""
    number = number_of(state) + 1
    for name in ("started", "exit"):
        with contextlib.suppress(FileNotFoundError):
            (state / name).unlink()
    staged = state / "number.new"
    staged.write_text(str(number), "ascii")
    staged.replace(state / "number")
    return number


def begun_of(state: Path) -> Begun | None:
    try:
        *numbers, boot = (state / "started").read_text("ascii").split()
        number, shim_pid, shim_started, pid, started = map(int, numbers)
    except (OSError, ValueError):
        return None
    return Begun(
        number=number,
        shim_pid=shim_pid,
        shim_started=shim_started,
        pid=pid,
        started=started,
        boot=boot,
    )


def exit_of(state: Path, number: int) -> Exit | None:
    try:
        words = (state / "exit").read_text(errors="replace").split()
        if int(words[0]) != number:
            return None
        value = int(words[2])
    except (OSError, ValueError, IndexError):
        return None
    if words[1] == "signal":
        with contextlib.suppress(ValueError):
            return Exit(signal=signal.Signals(value).name)
        return Exit(signal=f"SIG{value}")
    return Exit(exit_code=value if words[1] == "code" else 127)


@contextlib.contextmanager
def locked(state: Path) -> Iterator[bool]:
    """Whether no shim lives; while this lasts, none begins anything."""
    state.mkdir(parents=True, exist_ok=True)
    lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(lock)
