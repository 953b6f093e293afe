"""Which processors and GPUs an instance has for itself. The choice is pure; ``HostAssigner`` looks at
the machine.

A processor for itself is one that no other instance is pinned to. What is not pinned runs anywhere.
"""

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from farshore_protocol.tasks import TaskSpec
from farshore_protocol.tasks.spec import Gpus

from farshore_edge.tasks.drivers.model import DriverError

DEVICES = Path("/dev")
TOPOLOGY = Path("/sys/devices/system/cpu")
WHOLE_MILLI = 1000

Core = tuple[int, ...]
"""The processors (hardware threads) of one core."""


def wanted_cpus(spec: TaskSpec) -> int:
    """Whole processors: ``requests.cpu_cores`` rounded up, one at least; 0 where it is not pinned."""
    return max(1, math.ceil(spec.requests.cpu_cores)) if spec.limits.pin_cpus else 0


def choose_cpus(count: int, cores: Iterable[Core], taken: frozenset[int]) -> tuple[int, ...] | None:
    """``count`` processors of ``cores``, none of the taken ones; None where there are not enough.

    Whole free cores first, as long as all of one is needed; then the fewest cores that are left, those
    with the least free first, so that whole cores stay whole. The highest numbers first: the kernel
    and the agent are busiest on the lowest. The same input gives the same choice.
    """
    free = [tuple(sorted(set(core) - taken)) for core in cores]
    whole = [core for core, all_of in zip(free, cores, strict=True) if len(core) == len(all_of)]
    chosen: list[int] = []
    for core in sorted(whole, reverse=True):
        if core and len(chosen) + len(core) <= count:
            chosen += core
    left = [tuple(sorted(set(core) - set(chosen))) for core in free]
    for core in sorted(left, key=lambda core: (len(core), [-each for each in core])):
        chosen += core[: count - len(chosen)]
    return tuple(sorted(chosen)) if len(chosen) == count else None


def gpus_problem(
    wanted: Gpus,
    given: Sequence[int],
    held: Iterable[tuple[Gpus, Sequence[int]]],
    present: int | None,
) -> str | None:
    """Why an instance can't have the GPUs that the center gave it; None where it can.

    ``held``: what the other instances of this node have. ``present``: how many GPUs there are, None
    where that is not known. A node is asked because a center that was restored may give one twice.
    """
    expected = wanted.count or (1 if wanted.milli else 0)
    if len(given) != expected or len(set(given)) != len(given):
        return f"gpus: {len(given)} were given, expected {expected} different ones"
    beyond = [gpu for gpu in given if present is not None and gpu >= present]
    if beyond:
        return f"gpus: there is no GPU {beyond[0]}; this node has {present}"
    used = dict.fromkeys(given, 0)
    for other, theirs in held:
        for gpu in theirs:
            if gpu in used:
                used[gpu] += other.milli or WHOLE_MILLI
    share = wanted.milli or WHOLE_MILLI
    for gpu, milli in used.items():
        if milli + share > WHOLE_MILLI:
            return f"gpus: of GPU {gpu} {milli} thousandths are in use; asked for are {share}"
    return None


def gpus_present(devices: Path = DEVICES) -> int | None:
    """How many GPUs of NVIDIA the kernel has; None where it has none: of others it is not known here."""
    return sum(1 for _ in devices.glob("nvidia[0-9]*")) or None


def read_cores(online: Iterable[int], siblings: Callable[[int], str | None]) -> tuple[Core, ...]:
    """``siblings``: the text of a processor's ``thread_siblings_list``. One whose text can't be read is
    a core by itself."""
    allowed = sorted(set(online))
    found: dict[int, Core] = {}
    for cpu in allowed:
        if cpu not in found:
            named = _numbers(siblings(cpu) or "") | {cpu}
            core = tuple(each for each in allowed if each in named and each not in found)
            found |= dict.fromkeys(core, core)
    return tuple(dict.fromkeys(found[cpu] for cpu in allowed))


def _numbers(text: str) -> set[int]:
    """The kernel's lists: ``0,4`` or ``0-1``."""
    found: set[int] = set()
    with contextlib.suppress(ValueError):
        for part in text.strip().split(","):
            first, _, last = part.partition("-")
            found |= set(range(int(first), int(last or first) + 1))
    return found


class HostAssigner:
    """Of this machine's processors, those that the agent itself may use."""

    def cpus(self, spec: TaskSpec, taken: frozenset[int]) -> tuple[int, ...]:
        """Empty where it asks for none. Raises DriverError where there are not enough."""
        count = wanted_cpus(spec)
        if not count:
            return ()
        allowed = os.sched_getaffinity(0)
        chosen = choose_cpus(count, read_cores(allowed, _siblings), taken)
        if chosen is None:
            free = len(allowed - taken)
            message = f"limits.pin_cpus: {count} processors are asked for, {free} are free here"
            raise DriverError("no_cpus", message)
        return chosen


def _siblings(cpu: int) -> str | None:
    try:
        return (TOPOLOGY / f"cpu{cpu}/topology/thread_siblings_list").read_text("ascii")
    except OSError:
        return None
