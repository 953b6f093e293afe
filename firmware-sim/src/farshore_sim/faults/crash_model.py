"""What can be on the disk after a power loss. Pure.

The model is the usual one of crash-consistency work (ALICE: Pillai et al., "All File Systems Are Not
Created Equal", OSDI 2014; CrashMonkey: Mohan et al., OSDI 2018; SQLite's own crash test VFS, "How
SQLite Is Tested", section 3.3):

- What a file held when its last sync was called is there.
- Of what came after, anything may be there: in units of ``unit_bytes`` (a sector or a page) each unit
  holds any one of the states that it went through since then, whatever the others hold. So writes
  are lost, reordered and torn.
- A file may have grown without its data: then there are zeros.
- A sync that failed is not made good by a later one: the kernel takes the pages for clean, and only
  those that are written again are covered (Rebello et al., "Can Applications Recover from fsync
  Failures?", ATC 2020).
- Truncations come in order, and what was written behind one is there only if it is.
- Names come and go in order; those before the last sync of the folder are kept. A sync of a file
  does not make its name durable.

Not in the model: disks that lie about a sync, and damage to what was synced (see ``damage``).
"""

import enum
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from farshore_sim.faults.events import (
    Create,
    Event,
    Rename,
    Sync,
    SyncFailed,
    SyncFolder,
    Truncate,
    Unlink,
    Write,
)

SECTOR_BYTES = 512
PAGE_BYTES = 4096


class Survival(enum.StrEnum):
    """Which of the writes that were not synced are on the disk."""

    NOTHING = "nothing"
    EVERYTHING = "everything"
    SUBSET = "subset"
    """Some of the writes, each of them whole: lost and reordered."""
    TORN = "torn"
    """Each unit on its own."""
    CUT = "cut"
    """All up to one, and a part of that one."""


_Change = Write | Truncate


@dataclass(slots=True)
class _Pending:
    """A change that no sync has covered. ``clean``: a sync of it failed, and the kernel forgot it."""

    place: int
    change: _Change
    clean: bool = False


@dataclass(slots=True)
class _File:
    """``synced``: its durable content; ``since``: what came after."""

    synced: bytes = b""
    since: list[_Pending] = field(default_factory=list)

    def sync(self, before: int) -> None:
        covered = [pending for pending in self.since if pending.place < before]
        seen = bytearray(self.synced)
        dirty: set[int] = set()
        for pending in covered:
            touched = _pages(pending.change, len(seen))
            _apply(seen, pending.change)
            if not pending.clean:
                dirty.update(touched)
        content = bytearray(self.synced[: len(seen)].ljust(len(seen), b"\0"))
        for page in dirty:
            start = page * PAGE_BYTES
            content[start : start + PAGE_BYTES] = seen[start : start + PAGE_BYTES]
        self.synced = bytes(content)
        # Written over pages that stay clean, these may or may not have reached the disk for ever.
        stranded = [p for p in covered if p.clean for p in _outside(p, dirty)]
        self.since = stranded + [pending for pending in self.since if pending.place >= before]

    def sync_failed(self, before: int) -> None:
        for pending in self.since:
            if pending.place < before and isinstance(pending.change, Write):
                pending.clean = True


def _pages(change: _Change, size: int) -> range:
    """The pages that a change makes dirty in a file of this size."""
    if isinstance(change, Truncate):
        first, end = min(change.size, size), max(change.size, size)
    else:
        first, end = min(change.offset, size), change.offset + len(change.data)
    return range(first // PAGE_BYTES, -(-end // PAGE_BYTES))


def _outside(pending: _Pending, dirty: set[int]) -> list[_Pending]:
    """What of a write lies in other pages."""
    write = pending.change
    if isinstance(write, Truncate):
        return []
    parts = []
    for page in _pages(write, write.offset):
        start = max(page * PAGE_BYTES, write.offset)
        data = write.data[start - write.offset : (page + 1) * PAGE_BYTES - write.offset]
        if page not in dirty:
            part = Write(name=write.name, offset=start, data=data)
            parts.append(_Pending(place=pending.place, change=part, clean=True))
    return parts


class Disk:
    """Follows a record event by event; ``after_power_loss`` at any point of it."""

    def __init__(self, initial: Mapping[str, bytes]) -> None:
        self._place = 0
        self._names = {name: _File(content) for name, content in initial.items()}
        self._synced_names = dict(self._names)
        self._names_since: list[tuple[int, dict[str, _File]]] = []

    def follow(self, event: Event) -> None:
        place, self._place = self._place, self._place + 1
        match event:
            case Write() | Truncate():
                self._names[event.name].since.append(_Pending(place, event))
            case Sync():
                self._names[event.name].sync(event.since)
            case SyncFailed():
                self._names[event.name].sync_failed(event.since)
            case SyncFolder():
                done = [names for at, names in self._names_since if at < event.since]
                self._synced_names = done[-1] if done else self._synced_names
                self._names_since = [e for e in self._names_since if e[0] >= event.since]
            case Create() | Unlink() | Rename():
                self._rename(event)
                self._names_since.append((place, dict(self._names)))

    def _rename(self, event: Create | Unlink | Rename) -> None:
        match event:
            case Create():
                self._names[event.name] = _File()
            case Unlink():
                self._names.pop(event.name, None)
            case Rename():
                self._names[event.to] = self._names.pop(event.name)

    def after_power_loss(
        self, rng: random.Random, survival: Survival, unit_bytes: int
    ) -> dict[str, bytes]:
        """The files as a machine that starts again may find them."""
        folders = [self._synced_names, *(names for _, names in self._names_since)]
        match survival:
            case Survival.NOTHING:
                names = folders[0]
            case Survival.EVERYTHING:
                names = folders[-1]
            case _:
                names = rng.choice(folders)
        return {
            name: _surviving(file, rng, survival, unit_bytes)
            for name, file in sorted(names.items())
        }


def _apply(content: bytearray, change: _Change) -> None:
    if isinstance(change, Truncate):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
        return
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data


def _surviving(file: _File, rng: random.Random, survival: Survival, unit_bytes: int) -> bytes:
    if survival is Survival.NOTHING:
        return file.synced
    changes = [pending.change for pending in file.since]
    cuts = sum(isinstance(change, Truncate) for change in changes)
    kept_cuts = cuts if survival is Survival.EVERYTHING else rng.randint(0, cuts)
    disk, cache = file.synced, bytearray(file.synced)
    writes: list[Write] = []
    for change in changes:
        if isinstance(change, Write):
            writes.append(change)
            continue
        if kept_cuts == 0:
            break
        kept_cuts -= 1
        cut = bytearray(_written(disk, cache, writes, rng, survival, unit_bytes))
        _apply(cut, change)
        _apply(cache, change)
        disk, writes = bytes(cut), []
    return _written(disk, cache, writes, rng, survival, unit_bytes)


def _written(
    disk: bytes,
    cache: bytearray,
    writes: list[Write],
    rng: random.Random,
    survival: Survival,
    unit_bytes: int,
) -> bytes:
    """``disk`` after some of ``writes``; ``cache``, what the process sees, is after all of them.

    What is written back is the cache's unit as a whole: a later write never comes without the
    earlier ones to the same unit.
    """
    states: dict[int, list[tuple[int, bytes]]] = {}
    sizes = [len(disk)]
    for number, write in enumerate(writes):
        _apply(cache, write)
        sizes.append(len(cache))
        end = write.offset + len(write.data)
        for unit in range(write.offset // unit_bytes, -(-end // unit_bytes)):
            start = unit * unit_bytes
            held = states.setdefault(unit, [(-1, disk[start : start + unit_bytes])])
            held.append((number, bytes(cache[start : start + unit_bytes])))
    choose = _chooser(rng, survival, len(writes))
    content = bytearray(disk)
    for unit, held in states.items():
        data = choose(held)
        if data != held[0][1]:
            _apply(content, Write(name="", offset=unit * unit_bytes, data=data))
    if survival is not Survival.EVERYTHING and rng.random() < 0.5:
        content.extend(bytes(max(0, rng.choice(sizes) - len(content))))
    return bytes(content)


_States = list[tuple[int, bytes]]


def _chooser(rng: random.Random, survival: Survival, writes: int) -> Callable[[_States], bytes]:
    """Which of the states of a unit is on the disk; a state is the number of its write and content."""
    if survival is Survival.TORN:
        return lambda states: rng.choice(states)[1]
    if survival is Survival.CUT:
        last = rng.randint(0, writes)
        return lambda states: _newest(
            states, lambda n: n < last or (n == last and rng.random() < 0.5)
        )
    share = rng.choice((0.2, 0.5, 0.8))
    kept = {
        number
        for number in range(writes)
        if survival is Survival.EVERYTHING or rng.random() < share
    }
    return lambda states: _newest(states, kept.__contains__)


def _newest(states: _States, kept: Callable[[int], bool]) -> bytes:
    return next((data for number, data in reversed(states) if number < 0 or kept(number)), b"")
