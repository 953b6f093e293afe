"""What the kernel says about a process: /proc of Linux, read as it is. No psutil in between."""

import os
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """In MiB. ``pss``: resident, with what is shared divided among those who share it; ``private``:
    what would be free if the process ended; ``rss``: resident, shared counted in full."""

    pss: float
    rss: float
    private: float


def parse_cpu_s(stat: str) -> float:
    """User and system time of ``/proc/PID/stat``, in seconds; all threads, no children."""
    # The name in parentheses may hold anything, parentheses and spaces included.
    after_name = stat.rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS_PER_S


def parse_parent(stat: str) -> int:
    return int(stat.rpartition(")")[2].split()[1])


def parse_memory(rollup: str) -> Memory:
    """Of ``/proc/PID/smaps_rollup``."""
    kib = {}
    for line in rollup.splitlines()[1:]:
        name, _, rest = line.partition(":")
        kib[name] = float(rest.split()[0])
    return Memory(
        pss=kib["Pss"] / 1024,
        rss=kib["Rss"] / 1024,
        private=(kib["Private_Clean"] + kib["Private_Dirty"]) / 1024,
    )


def descendants(pid: int, parent_of: dict[int, int]) -> list[int]:
    """Every process below ``pid``."""
    children = [child for child, parent in parent_of.items() if parent == pid]
    return children + [below for child in children for below in descendants(child, parent_of)]


def cpu_s(pid: int) -> float:
    return parse_cpu_s(_read(pid, "stat"))


def memory(pid: int) -> Memory:
    return parse_memory(_read(pid, "smaps_rollup"))


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def processes(pid: int) -> int:
    """``pid`` and every process below it."""
    return 1 + len(descendants(pid, parents()))


def parents() -> dict[int, int]:
    """Every process of the machine and its parent."""
    parent_of = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent_of[int(entry)] = parse_parent(_read(int(entry), "stat"))
            except BenchError:
                continue  # it ended while we looked
    return parent_of


def started(pid: int) -> int:
    """When it began, in ticks since the machine did."""
    return int(_read(pid, "stat").rpartition(")")[2].split()[19])


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError as exc:
        raise BenchError(f"/proc/{pid}/{name}: {exc.strerror}") from exc
