"""Logs that go on: a file, whatever rotates or truncates it, and the journal of a unit."""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO

from farshore_protocol.commands.catalogue import LogsArgs

from farshore_edge.commands.tails import SourceFailedError
from farshore_edge.commands.verbs.files import Refused, open_below
from farshore_edge.commands.verbs.guard import Guard
from farshore_edge.commands.verbs.program import Program, start
from farshore_edge.config.folders import Folders
from farshore_edge.config.programs import HostPrograms
from farshore_edge.errors import ConfigurationError

POLL_S = 0.25
READ_BYTES = 256 * 1024
LINE_MAX_BYTES = 16 * 1024
JOURNAL_BYTES = 256 * 1024
JOURNAL_S = 20.0
_CURSOR = "-- cursor: "


class _Splitter:
    """Bytes into whole lines, those that hold ``grep``; a line without end is cut, not gathered."""

    def __init__(self, grep: str | None) -> None:
        self._grep = None if grep is None else grep.encode()
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:LINE_MAX_BYTES]
        return [line for line in lines if self._wanted(line)]

    def end(self) -> list[bytes]:
        """What has no end of line and will get none."""
        rest, self._rest = self._rest, b""
        return [rest] if rest and self._wanted(rest) else []

    def _wanted(self, line: bytes) -> bool:
        return self._grep is None or self._grep in line


class FileSource:
    """A file by its path: read to its end, then what is written to it, then the file that took its
    place. One that was cut short is read from its beginning."""

    def __init__(self, folders: Folders, args: LogsArgs, title: str = "") -> None:
        self._folders = folders
        self._path = args.path or ""
        self._most = args.lines
        self._splitter = _Splitter(args.grep)
        self._open: ExitStack | None = None
        self._file: BinaryIO
        self.title = title or f"file {self._path}"

    async def first(self) -> list[bytes]:
        return await asyncio.to_thread(self._first)

    def _first(self) -> list[bytes]:
        self._enter()
        kept: deque[bytes] = deque(maxlen=self._most)
        while data := self._file.read(READ_BYTES):
            kept.extend(self._splitter.feed(data))
        return list(kept)

    def _enter(self) -> None:
        with ExitStack() as stack:
            self._file = stack.enter_context(open_below(self._folders, self._path))
            if self._open is not None:
                self._open.close()
            self._open = stack.pop_all()

    async def more(self) -> list[bytes]:
        while True:
            try:
                lines, again = await asyncio.to_thread(self._more)
            except (OSError, Refused, ConfigurationError) as exc:
                raise SourceFailedError(f"{self._path}: {exc}") from exc
            if lines:
                return lines
            if not again:
                await asyncio.sleep(POLL_S)

    def _more(self) -> tuple[list[bytes], bool]:
        """Lines, and whether there may be more at once."""
        data = self._file.read(READ_BYTES)
        if data:
            return self._splitter.feed(data), True
        here = os.fstat(self._file.fileno())
        if here.st_size < self._file.tell():
            self._file.seek(0)
            return self._splitter.end(), True
        try:
            with self._folders.enter(self._path) as (folder, name):
                there = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return [], False  # between the old one and the new one
        if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
            return [], False
        # What was written into the old one until it was moved away has been read above.
        with contextlib.suppress(FileNotFoundError):
            self._enter()
            return self._splitter.end(), True
        return [], False

    async def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


class JournalSource:
    """The journal of a unit, by journalctl, which minds the rotation itself."""

    def __init__(self, journalctl: str, args: LogsArgs, guard: Guard | None) -> None:
        self._args = args
        self._guard = guard
        self._argv = [journalctl, "--no-pager", "--quiet", "--output=short-iso"]
        self._argv.append(f"--unit={args.unit}")
        self._splitter = _Splitter(args.grep)
        self._after: tuple[str, ...] = ("--lines=0",)
        self._program: Program | None = None
        self._errors: asyncio.Task[bytes] | None = None
        self.title = f"journal of {args.unit}"

    async def first(self) -> list[bytes]:
        args = self._args
        # With a text to look for, it is looked for in all that there is since then.
        lines = "--lines=all" if args.grep else f"--lines={args.lines}"
        since = () if args.since is None else (f"--since={args.since}",)
        argv = [*self._argv, "--show-cursor", lines, *since]
        programs = HostPrograms(self._guard)
        ended = await programs.run(argv, timeout_s=JOURNAL_S, output_bytes=JOURNAL_BYTES)
        if ended.code is None:
            raise Refused("timed_out", f"the journal was not read within {JOURNAL_S:g} s")
        if ended.code != 0:
            raise Refused("exit", f"journalctl: {ended.output.strip()[-800:] or ended.code}")
        return list(self._shown(ended.output))[-args.lines :] if args.lines else []

    def _shown(self, output: str) -> Iterator[bytes]:
        """Its lines; where it ends is kept for what follows."""
        for line in output.splitlines():
            if line.startswith(_CURSOR):
                self._after = (f"--after-cursor={line.removeprefix(_CURSOR)}",)
            else:
                yield from self._splitter.feed(line.encode() + b"\n")

    async def more(self) -> list[bytes]:
        program = self._program or await self._follow()
        while data := await program.stdout.read(READ_BYTES):
            lines = self._splitter.feed(data)
            if lines:
                return lines
        why = (await self._errors if self._errors else b"").decode(errors="replace").strip()
        raise SourceFailedError(f"journalctl has ended{': ' + why[-800:] if why else ''}")

    async def _follow(self) -> Program:
        argv = [*self._argv, "--follow", *self._after]
        try:
            self._program = await start(
                argv, cwd=None, env=os.environ, stdin=None, guard=self._guard, must_record=False
            )
        except OSError as exc:
            raise SourceFailedError(f"{argv[0]}: {exc.strerror}") from exc
        self._errors = asyncio.create_task(self._program.stderr.read(READ_BYTES))
        return self._program

    async def close(self) -> None:
        if self._program is not None:
            await self._program.end_group()
            self._program.close()
        if self._errors is not None:
            self._errors.cancel()
            await asyncio.wait([self._errors])
