"""Reads the log of ``strace -f -y -xx`` into events. Pure.

With ``-xx`` every string and path is hexadecimal, so that nothing in a file's contents can look like
a part of the log; with ``-y`` a descriptor carries its path. A call that changes a watched file in a
way that is not modelled raises RecordingError: a record with a gap would prove nothing.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from farshore_sim.faults.errors import RecordingError
from farshore_sim.faults.events import (
    Create,
    Event,
    Mark,
    Rename,
    Sync,
    SyncFailed,
    SyncFolder,
    Truncate,
    Unlink,
    Write,
)

_LINE = re.compile(r"^(\d+)\s+(.*)$", re.DOTALL)
_CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+|\?)(?:<([^>]*)>)?", re.DOTALL)
_RESUMED = re.compile(r"^<\.\.\. \w+ resumed>(.*)$", re.DOTALL)
_FD = re.compile(r"^-?\w+<([^>]*)>(\(deleted\))?$")
_SYNCS = ("fsync", "fdatasync")
_UNFINISHED = "<unfinished ...>"


def parse(
    lines: Iterable[str],
    *,
    folder: Path,
    names: Sequence[str],
    marks: Path,
    present: Iterable[str] = (),
) -> list[Event]:
    """``present``: those of ``names`` that the folder held at the start."""
    reader = _Reader(str(folder), frozenset(names), str(marks), set(present))
    for line in lines:
        if found := _LINE.match(line.rstrip("\n")):
            reader.take(int(found[1]), found[2])
    return reader.events


@dataclass(slots=True)
class _Reader:
    folder: str
    names: frozenset[str]
    marks: str
    present: set[str]
    events: list[Event] = field(default_factory=list)
    open_calls: dict[int, tuple[str, int]] = field(default_factory=dict)
    """By thread: the beginning of a call that another thread's line interrupted, and its place."""

    def take(self, thread: int, text: str) -> None:
        if text.endswith(_UNFINISHED):
            self.open_calls[thread] = text.removesuffix(_UNFINISHED).rstrip(), len(self.events)
            return
        since = len(self.events)
        if resumed := _RESUMED.match(text):
            begun, since = self.open_calls.pop(thread, ("", since))
            text = begun + resumed[1]
        call = _CALL.match(text)
        if call is None or call[3] == "?":
            return
        if int(call[3]) < 0:
            if call[1] in _SYNCS and (file := self.watched(call[2])):
                self.events.append(SyncFailed(name=file, since=since))
            return
        self.finished(call[1], call[2].split(", "), int(call[3]), call[4], since)

    def finished(
        self, name: str, args: list[str], result: int, opened: str | None, since: int
    ) -> None:
        match name:
            case "pwrite64" if file := self.watched(args[0]):
                data = _bytes(args[1])[:result]
                self.events.append(Write(name=file, offset=int(args[3]), data=data))
            case "write" if _path(args[0]) == self.marks:
                said = _bytes(args[1])[:result].decode()
                self.events += [Mark(text=line) for line in said.splitlines()]
            case "ftruncate" if file := self.watched(args[0]):
                self.events.append(Truncate(name=file, size=int(args[1])))
            case "fsync" | "fdatasync":
                self.synced(args[0], since)
            case "open" | "openat" | "creat":
                self.opened(opened, args)
            case "unlink" | "unlinkat":
                self.unlinked(_places(args))
            case "rename" | "renameat" | "renameat2":
                self.renamed(*_places(args))
            case "write" | "writev" | "pwritev" | "fallocate" | "copy_file_range" | "sendfile":
                self.refuse(name, args)
            case "mmap" | "msync" | "truncate":
                if name != "mmap" or ("MAP_SHARED" in args[3] and "PROT_WRITE" in args[2]):
                    self.refuse(name, args)

    def watched(self, arg: str) -> str | None:
        """The watched file that a descriptor is open on; a deleted one has no name to lose."""
        return self.inside(_path(arg))

    def inside(self, path: str | None) -> str | None:
        if path is None:
            return None
        place, _, name = path.rpartition("/")
        return name if place == self.folder and name in self.names else None

    def refuse(self, name: str, args: list[str]) -> None:
        for arg in args:
            path = _bytes(arg).decode() if arg.startswith('"/') else _path(arg)
            if file := self.inside(path):
                raise RecordingError(f"{name} on {file} is not modelled")

    def synced(self, arg: str, since: int) -> None:
        if _path(arg) == self.folder:
            self.events.append(SyncFolder(since=since))
        elif file := self.watched(arg):
            self.events.append(Sync(name=file, since=since))

    def opened(self, path: str | None, args: list[str]) -> None:
        name = self.inside(_hex(path) if path is not None else None)
        if name is None:
            return
        flags = " ".join(args)
        if name not in self.present:
            self.present.add(name)
            self.events.append(Create(name=name))
        elif "O_TRUNC" in flags:
            self.events.append(Truncate(name=name, size=0))

    def unlinked(self, places: list[str]) -> None:
        if name := self.inside(places[0]):
            self.present.discard(name)
            self.events.append(Unlink(name=name))

    def renamed(self, old: str, new: str) -> None:
        source, target = self.inside(old), self.inside(new)
        if source is None and target is None:
            return
        if source is None or target is None:
            raise RecordingError(f"rename of {old} to {new}: both must be watched")
        self.present.discard(source)
        self.present.add(target)
        self.events.append(Rename(name=source, to=target))


def _hex(text: str) -> str:
    return bytes.fromhex(text.replace("\\x", "")).decode("utf-8", "surrogateescape")


def _path(arg: str) -> str | None:
    found = _FD.match(arg)
    return _hex(found[1]) if found and not found[2] and found[1].startswith("\\x") else None


def _bytes(arg: str) -> bytes:
    if not arg.endswith('"'):
        raise RecordingError("the trace holds a shortened string")
    return bytes.fromhex(arg[1:-1].replace("\\x", ""))


def _places(args: list[str]) -> list[str]:
    """The absolute paths among the arguments of unlink, rename and their ``at`` forms."""
    places, base = [], None
    for arg in args:
        if arg.startswith('"'):
            path = _bytes(arg).decode("utf-8", "surrogateescape")
            places.append(path if path.startswith("/") or base is None else f"{base}/{path}")
        else:
            base = _path(arg)
    return places
