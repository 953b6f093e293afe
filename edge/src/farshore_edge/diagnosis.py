"""The sections of ``diagnose``: what the agent knows of itself. It reads; it changes nothing.

Of commands never the arguments and of the configuration never the content: both may hold secrets.
"""

import asyncio
import os
import platform
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil
from farshore_protocol.commands.catalogue import DiagnoseArgs

from farshore_edge.commands.verbs.diagnose import LogLines, Section, no_lines
from farshore_edge.database import CommandRow, Loss
from farshore_edge.settings import Settings

LINK_CHANGES = 40
LOSSES = 50


class Books(Protocol):
    """What of the database a diagnosis reads; each may raise DatabaseError."""

    def losses(self) -> list[Loss]: ...

    def recent_commands(self, limit: int) -> list[CommandRow]: ...


@dataclass(slots=True)
class LinkHistory:
    """The last connections: when each came and went, and why."""

    changes: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=LINK_CHANGES))

    def up(self, conn: int, at_ms: int) -> None:
        self.changes.append({"at": at_ms, "conn": conn, "state": "up"})

    def down(self, conn: int, at_ms: int, reason: str) -> None:
        self.changes.append({"at": at_ms, "conn": conn, "state": "down", "reason": reason[:200]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """What only an agent on a real machine has: its log, its process, the folder of its data."""

    log_lines: LogLines = no_lines
    process: Callable[[], dict[str, Any]] = dict
    folder: Callable[[], dict[str, Any]] = dict


def host_support(log_lines: LogLines, data: Path) -> Support:
    return Support(log_lines=log_lines, process=_process, folder=lambda: _folder(data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """``status``: what the verb ``status`` gives; ``clock``: what is known of the center's time."""

    settings: Settings
    books: Books
    link: LinkHistory
    status: Callable[[], dict[str, Any]]
    clock: Callable[[], dict[str, Any]]
    facts: Callable[[], dict[str, Any]]
    support: Support

    def sections(self) -> Mapping[str, Section]:
        return {
            "agent": self._agent,
            "settings": self._settings,
            "link": self._link,
            "clock": self._clock,
            "streams": self._streams,
            "losses": self._losses,
            "disk": self._disk,
            "commands": self._commands,
            "config": self._config,
            "machine": self._machine,
        }

    async def _agent(self, _args: DiagnoseArgs) -> dict[str, Any]:
        word = self.status()
        own = {key: word[key] for key in ("boot", "up_s", "commands", "commands_waiting")}
        return own | await asyncio.to_thread(self.support.process)

    async def _settings(self, _args: DiagnoseArgs) -> dict[str, Any]:
        return asdict(self.settings)

    async def _link(self, _args: DiagnoseArgs) -> dict[str, Any]:
        return {
            "center": self.settings.center,
            "connected": self.status()["connected"],
            "changes": list(self.link.changes),
        }

    async def _clock(self, _args: DiagnoseArgs) -> dict[str, Any]:
        return self.clock()

    async def _streams(self, _args: DiagnoseArgs) -> dict[str, Any]:
        streams: dict[str, Any] = self.status()["streams"]
        return streams

    async def _losses(self, _args: DiagnoseArgs) -> dict[str, Any]:
        lines = self.books.losses()
        return {"count": len(lines), "last": [asdict(line) for line in lines[-LOSSES:]]}

    async def _disk(self, _args: DiagnoseArgs) -> dict[str, Any]:
        word: dict[str, Any] = self.status()["disk"]
        return word | await asyncio.to_thread(self.support.folder)

    async def _commands(self, args: DiagnoseArgs) -> list[dict[str, Any]]:
        rows = self.books.recent_commands(args.commands)
        return [
            {"id": row.id, "verb": row.verb, "state": row.state, "at": row.at_ms} for row in rows
        ]

    async def _config(self, _args: DiagnoseArgs) -> dict[str, Any]:
        config = dict(self.status()["config"])
        config.pop("override", None)
        return config

    async def _machine(self, _args: DiagnoseArgs) -> dict[str, Any]:
        return await asyncio.to_thread(self.facts)


def _process() -> dict[str, Any]:
    own = psutil.Process()
    with own.oneshot():
        return {
            "pid": own.pid,
            "user": own.username(),
            "python": platform.python_version(),
            "executable": sys.executable,
            "memory_bytes": own.memory_info().rss,
            "threads": own.num_threads(),
            "descriptors": own.num_fds(),
            "cpu_s": round(sum(own.cpu_times()[:2]), 2),
            "load": os.getloadavg(),
        }


def _folder(data: Path) -> dict[str, Any]:
    """What of it can be read; a disk that is failing says so in its place."""
    word: dict[str, Any] = {"folder": str(data.absolute())}
    try:
        room = os.statvfs(data)
        word |= {
            "total_bytes": room.f_blocks * room.f_frsize,
            "free_bytes": room.f_bavail * room.f_frsize,
            "free_inodes": room.f_favail,
            "read_only": bool(room.f_flag & os.ST_RDONLY),
        }
        word["files"] = {
            each.name: each.stat(follow_symlinks=False).st_size
            for each in sorted(os.scandir(data), key=lambda each: each.name)[:100]
            if each.is_file(follow_symlinks=False)
        }
    except OSError as exc:
        word["folder_error"] = exc.strerror or str(exc)
    return word
