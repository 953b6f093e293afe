"""``app``: a document of a local program, written as JSON; the program is told by command or signal."""

import asyncio
import os
import signal
from collections.abc import Sequence
from typing import Any

import orjson
from farshore_protocol.config.documents import DOCUMENTS, AppDocument, OnChange
from farshore_protocol.config.pointer import pointer

from farshore_edge.config.folders import Folders
from farshore_edge.config.model import Change, HandlerTools, Programs, Site
from farshore_edge.config.placing import Placer, Wanted, gid_of, uid_of
from farshore_edge.errors import ConfigurationError


class Apps:
    document = "app"
    kind = DOCUMENTS["app"]
    order = 30
    volatile = False

    def __init__(self, tools: HandlerTools) -> None:
        self._placer = Placer(Folders(tools.roots, tools.data.parent), tools.data / "backup")
        self._tools = tools
        self._programs = tools.programs

    def paths(self, document: dict[str, AppDocument]) -> Sequence[str]:
        return [entry.path for entry in document.values()]

    async def plan(self, document: dict[str, AppDocument], site: Site) -> Sequence[Change]:  # noqa: ARG002 # the contract
        return await asyncio.to_thread(self._plan, document)

    def _plan(self, document: dict[str, AppDocument]) -> list[Change]:
        changes = []
        for name, entry in document.items():
            at = pointer((self.document, name))
            telling = _telling(entry.on_change, at)
            if telling is not None:
                self._tools.check_may_run(f"{at}/on_change")
            wanted = Wanted(
                path=entry.path,
                content=orjson.dumps(
                    entry.document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
                ),
                mode=int(entry.mode, 8),
                uid=uid_of(entry.owner, at),
                gid=gid_of(entry.group, at),
            )
            change = self._placer.plan(self.document, name, at, wanted)
            if change is None:
                continue
            changes.append(change)
            if telling is not None:
                changes.append(_told(name, at, telling))
        return changes

    async def stage(self, change: Change) -> None:
        if not change.late:
            await asyncio.to_thread(self._placer.stage, change)

    async def apply(self, change: Change) -> None:
        if change.late:
            await _tell(change, self._programs)
        else:
            await asyncio.to_thread(self._placer.apply, change)

    async def undo(self, change: Change) -> None:
        if change.late:
            await _tell(change, self._programs)
        else:
            await asyncio.to_thread(self._placer.undo, change)

    async def discard(self, change: Change, *, kept: bool) -> None:
        if not change.late:
            await asyncio.to_thread(self._placer.discard, change, kept=kept)


def _telling(word: OnChange | None, at: str) -> OnChange | None:
    if word is None:
        return None
    by_signal = word.signal is not None and word.pid_file is not None
    half = (word.signal is None) != (word.pid_file is None)
    if half or by_signal == (word.command is not None):
        message = "expected a command, or a signal with a pid_file; just one of them"
        raise ConfigurationError("bad_document", message, f"{at}/on_change")
    if word.signal is not None and word.signal not in signal.Signals.__members__:
        raise ConfigurationError(
            "bad_document", f"no such signal: {word.signal}", f"{at}/on_change/signal"
        )
    return word


def _told(name: str, at: str, word: OnChange) -> Change:
    want: dict[str, Any] = {
        "command": word.command,
        "signal": word.signal,
        "pid_file": word.pid_file,
        "timeout_s": word.timeout_s,
    }
    return Change(
        document="app",
        name=name,
        path=f"{at}/on_change",
        expected="told of its document",
        found="not told yet",
        want=want,
        late=True,
    )


async def _tell(change: Change, programs: Programs) -> None:
    want = change.want
    if want["command"] is not None:
        ended = await programs.run(want["command"], timeout_s=want["timeout_s"])
        if ended.code != 0:
            message = f"{want['command'][0]}: {_how(ended.code)}: {ended.output.strip()}"
            raise ConfigurationError("on_change_failed", message, change.path)
        return
    try:
        pid = int(await asyncio.to_thread(_first_word, want["pid_file"]))
        if pid <= 1:
            raise ValueError(f"{pid} is no process to be told")
        os.kill(pid, signal.Signals[want["signal"]])
    except FileNotFoundError:
        return  # the program is not running: it will read its document when it starts
    except ProcessLookupError:
        return  # it ended and left its pid file behind
    except (OSError, ValueError, IndexError) as exc:
        message = f"{want['signal']} by {want['pid_file']}: {exc}"
        raise ConfigurationError("on_change_failed", message, change.path) from exc


def _first_word(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read(64).split()[0]


def _how(code: int | None) -> str:
    return "no end in time" if code is None else f"exit code {code}"


def make(tools: HandlerTools) -> Any:
    return Apps(tools)
