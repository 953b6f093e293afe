"""``logs``: the last lines of a unit's journal, of a task's output or of a log file, as output, and live
what follows.

The journal may be read where its folder is among those that the node allows; what a task has said, always.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from farshore_protocol.commands import CommandError, Output
from farshore_protocol.commands.catalogue import LogsArgs
from farshore_protocol.commands.catalogue.files import LogsResult
from farshore_protocol.messages.log import log_name

from farshore_edge.commands.tails import Tails, TooManyError
from farshore_edge.commands.verbs.capture import CHUNK_BYTES
from farshore_edge.commands.verbs.files import Refused, in_thread, open_below
from farshore_edge.commands.verbs.guard import Guard
from farshore_edge.commands.verbs.log_sources import FileSource, JournalSource
from farshore_edge.commands.verbs.model import Context, Handler, Outcome
from farshore_edge.config.folders import Folders
from farshore_edge.config.programs import HostPrograms
from farshore_edge.errors import ConfigurationError

JOURNALCTL = "journalctl"
JOURNAL = "/var/log/journal/system.journal"
"""Stands for the journal where it is asked whether it may be read."""
LINE_MAX_BYTES = 16 * 1024
READ_BYTES = 256 * 1024


TaskOutput = Callable[[str], Path | None]
"""``TASK/INSTANCE`` → the file with what it has said; None where it never was here."""


def no_tasks(unit: str) -> Path | None:  # noqa: ARG001 # a TaskOutput
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a log is read. ``name``: of the topic for what follows."""

    folders: Folders
    args: LogsArgs
    title: str
    name: str


def _place(folders: Folders, args: LogsArgs, task_output: TaskOutput) -> _Place | Outcome:
    name = log_name(unit=args.unit, path=args.path, grep=args.grep)
    if args.unit is None or "/" not in args.unit:
        title = f"file {args.path}" if args.path else f"journal of {args.unit}"
        return _Place(folders=folders, args=args, title=title, name=name)
    output = task_output(args.unit)
    if output is None:
        return _failed("no_task", f"{args.unit}: no such instance of a task is or was here")
    return _Place(
        folders=Folders((output.parent,), output.parent),
        args=replace(args, unit=None, path=str(output)),
        title=f"task {args.unit}",
        name=name,
    )


def logs(
    folders: Folders,
    tails: Tails | None = None,
    *,
    journalctl: str = JOURNALCTL,
    guard: Guard | None = None,
    task_output: TaskOutput = no_tasks,
) -> Handler:
    """``tails``: where what comes later goes; without them nothing can be followed."""

    async def handle(args: LogsArgs, context: Context) -> Outcome:
        if (args.unit is None) == (args.path is None):
            message = "expected one of unit (of the journal) and path (of a file)"
            return _failed("bad_args", message)
        place = await asyncio.to_thread(_place, folders, args, task_output)
        if isinstance(place, Outcome):
            return place
        if args.follow and tails is not None:
            return await _follow(tails, place, journalctl, guard, context)
        kept = _Lines(args, context.output_max_bytes)
        if place.args.path is not None:
            path = place.args.path
            failed = await in_thread(lambda: _of_file(place.folders, path, kept))
        else:
            failed = await _of_journal(folders, journalctl, args, context, kept, guard)
        if failed.error is not None:
            return failed
        await _say(kept.text(), context)
        result = LogsResult(source=place.title, lines=len(kept.lines), output_cut_bytes=kept.cut)
        return Outcome(result=asdict(result))

    return handle


async def _follow(
    tails: Tails,
    place: _Place,
    journalctl: str,
    guard: Guard | None,
    context: Context,
) -> Outcome:
    """The last lines as output; what comes then is the tail's."""
    args = place.args
    if args.path is None:
        allowed = await in_thread(_journal_allowed(place.folders))
        if allowed.error is not None:
            return allowed

    def make() -> FileSource | JournalSource:
        if args.path is not None:
            return FileSource(place.folders, args, place.title)
        return JournalSource(journalctl, args, guard)

    try:
        found = await tails.follow(place.name, make, lease_s=args.follow_s, lines=args.lines)
    except TooManyError as exc:
        return _failed("too_many", str(exc))
    except Refused as exc:
        return _failed(exc.code, str(exc))
    except ConfigurationError as exc:
        return _failed(exc.code, exc.message)
    except OSError as exc:
        code = "unsupported" if args.path is None else "io_error"
        return _failed(code, f"{exc.filename or journalctl}: {exc.strerror or exc}")
    kept = _Lines(replace(args, grep=None, lines=max(args.lines, 1)), context.output_max_bytes)
    for line in found.lines:
        kept.add(line)
    await _say(kept.text(), context)
    result = LogsResult(
        source=found.title,
        lines=len(kept.lines),
        output_cut_bytes=kept.cut,
        name=found.name,
        tail=found.tail,
        seq=found.seq,
    )
    return Outcome(result=asdict(result))


class _Lines:
    """The last lines that fit what was asked for, in so many bytes."""

    def __init__(self, args: LogsArgs, most_bytes: int) -> None:
        self.lines: deque[bytes] = deque()
        self.cut = 0
        self._most = args.lines
        self._grep = None if args.grep is None else args.grep.encode()
        self._bytes = 0
        self._most_bytes = most_bytes

    def add(self, line: bytes) -> None:
        if self._grep is not None and self._grep not in line:
            return
        line = line[:LINE_MAX_BYTES]
        self.lines.append(line)
        self._bytes += len(line) + 1
        while len(self.lines) > self._most:
            self._bytes -= len(self.lines.popleft()) + 1
        while self._bytes > self._most_bytes and self.lines:
            gone = len(self.lines.popleft()) + 1
            self._bytes -= gone
            self.cut += gone

    def text(self) -> str:
        return b"".join(line + b"\n" for line in self.lines).decode(errors="replace")


def _of_file(folders: Folders, path: str, kept: _Lines) -> dict[str, Any]:
    with open_below(folders, path) as file:
        rest = b""
        while data := file.read(READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                kept.add(line)
            rest = rest[:LINE_MAX_BYTES]
        if rest:
            kept.add(rest)
    return {}


async def _of_journal(
    folders: Folders,
    journalctl: str,
    args: LogsArgs,
    context: Context,
    kept: _Lines,
    guard: Guard | None,
) -> Outcome:
    allowed = await in_thread(_journal_allowed(folders))
    if allowed.error is not None:
        return allowed
    # With a text to look for, it is looked for in all that there is since then.
    lines = ("--lines=all",) if args.grep else (f"--lines={args.lines}",)
    since = () if args.since is None else (f"--since={args.since}",)
    unit = f"--unit={args.unit}"
    argv = [journalctl, "--no-pager", "--quiet", "--output=short-iso", unit, *lines, *since]
    most = max(context.output_max_bytes, READ_BYTES)
    try:
        programs = HostPrograms(guard, context.command_id)
        ended = await programs.run(argv, timeout_s=context.timeout_s, output_bytes=most)
    except OSError as exc:
        return _failed("unsupported", f"{journalctl}: {exc.strerror}; expected systemd's journal")
    if ended.code is None:
        message = f"the journal was not read within {context.timeout_s:g} s"
        return Outcome(state="timed_out", error=CommandError(code="timed_out", message=message))
    if ended.code != 0:
        return _failed("exit", f"journalctl: {ended.output.strip()[-800:] or ended.code}")
    for line in ended.output.encode().splitlines():
        kept.add(line)
    return Outcome()


def _journal_allowed(folders: Folders) -> Callable[[], dict[str, Any]]:
    def check() -> dict[str, Any]:
        folders.check(JOURNAL, "")
        return {}

    return check


async def _say(text: str, context: Context) -> None:
    data, offset = text.encode(), 0
    while offset < len(data):
        piece = data[offset : offset + CHUNK_BYTES].decode(errors="ignore")
        await context.emit(Output(offset=offset, stream="stdout", text=piece))
        offset += len(piece.encode())
        await asyncio.sleep(0)


def _failed(code: str, message: str) -> Outcome:
    return Outcome(state="failed", error=CommandError(code=code, message=message))
