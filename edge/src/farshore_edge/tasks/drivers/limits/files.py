"""The small files of control groups. What can't be done raises OSError that names file and text."""

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

PERIOD_US = 100_000
"""Of the processor's quota; the kernel's own default."""
LEAST_QUOTA_US = 1_000
BUSY_TRIES, BUSY_S = 10, 0.005
TOP = "farshore"
"""The group that holds all agents' groups. It is not below the agent's own, so that a service manager
that stops an agent does not stop its tasks."""


def quota_us(cores: float) -> int:
    """In each period. Pure."""
    return max(round(cores * PERIOD_US), LEAST_QUOTA_US)


def write(file: Path, text: str) -> None:
    """In one write, as the kernel wants it."""
    try:
        handle = os.open(file, os.O_WRONLY)
        try:
            os.write(handle, text.encode())
        finally:
            os.close(handle)
    except OSError as exc:
        raise OSError(exc.errno, f"{text!r} can't be written: {exc.strerror}", str(file)) from exc


def number(file: Path) -> int | None:
    try:
        return int(file.read_text("ascii"))
    except (OSError, ValueError):
        return None


def table(file: Path) -> dict[str, int]:
    """``name value`` on each line; empty where it can't be read."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for line in file.read_text("ascii").splitlines():
            name, _, value = line.partition(" ")
            if value.isdecimal():
                found[name] = int(value)
    return found


def pids(group: Path) -> frozenset[int]:
    """Of a group with all groups in it; a group that is gone has none."""
    found: set[int] = set()
    for each in groups(group):
        with contextlib.suppress(FileNotFoundError):
            try:
                found |= {int(line) for line in (each / "cgroup.procs").read_text("ascii").split()}
            except OSError as exc:
                if exc.errno != errno.ENODEV:  # it was removed while it was read
                    raise
    return frozenset(found)


def groups(group: Path) -> list[Path]:
    """A group and all groups in it, the deepest last."""
    return [Path(folder) for folder, _, _ in os.walk(group)]


def names(agent: Path) -> frozenset[str]:
    """Of the groups in an agent's."""
    with contextlib.suppress(OSError):
        return frozenset(each.name for each in agent.iterdir() if each.is_dir())
    return frozenset()


def remove(group: Path) -> None:
    """With what its own processes made below it; nothing where it is gone. A process that has just
    ended may hold it a moment longer."""
    for each in reversed(groups(group)):
        for last in (*(False,) * BUSY_TRIES, True):
            try:
                each.rmdir()
            except FileNotFoundError:
                break
            except OSError as exc:
                if last or exc.errno != errno.EBUSY or pids(each):
                    raise
                time.sleep(BUSY_S)
            else:
                break


def remove_empty(agent: Path) -> None:
    """An agent's group, and the one of all agents, where no task is left in them."""
    for group in (agent, agent.parent):
        try:
            group.rmdir()
        except OSError:
            return


def kill(members: Iterable[int]) -> None:
    for pid in members:
        if pid not in (0, 1, os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
