"""Where the node keeps its configurations and the journal of its transactions.

Files of its own instead of the agent's database: that one may be set aside when it is damaged, and
waits for group commits; the last good configuration must outlive it and be readable by a person. A
state is one small JSON file, written beside, synced and renamed, so it is whole at every instant.
Configurations lie beside it under their digest and never change.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import orjson
from farshore_protocol.config.digest import canonical, digest

from farshore_edge.config.model import State

log = logging.getLogger(__name__)

EMPTY: dict[str, Any] = {}
EMPTY_DIGEST = digest(EMPTY)


def write_durably(path: Path, payload: bytes) -> None:
    """The whole payload or what was there before, whatever happens."""
    if not path.parent.is_dir():
        _make_folder(path.parent)
    staged = path.with_name(path.name + ".new")
    with staged.open("wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)
    _sync(path.parent)


def _make_folder(folder: Path) -> None:
    """With what is missing above it; a power loss takes none of them away again. One that is there
    already is synced as well: its maker may have died before that."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for each in missing or [folder]:
        _sync(each.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FileStore:
    """``folder`` is made where it is missing, for the agent's eyes only: at the start, or with the
    first write when the disk could not be used then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with contextlib.suppress(OSError):
            _make_folder(folder)

    @property
    def _state(self) -> Path:
        return self._folder / "state.json"

    def _config(self, name: str) -> Path:
        return self._folder / f"{name.removeprefix('sha256:')}.json"

    def load(self) -> State:
        """A state that can't be read is set aside: the center will send its configuration again."""
        try:
            state: State = msgspec.json.decode(self._state.read_bytes(), type=State)
        except (FileNotFoundError, NotADirectoryError):
            return State()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
            log.error("the state of the configuration is damaged; set aside", exc_info=exc)
            with contextlib.suppress(OSError):  # on a disk that can only be read, it stays
                self._state.replace(self._folder / "state.json.damaged")
            return State()
        running = state.running
        if running is not None and self.config(running.digest) is None:
            log.error("the last good configuration is lost", extra={"digest": running.digest})
            return State(attempt=state.attempt)
        return state

    async def save(self, state: State) -> None:
        plain = msgspec.to_builtins(state)
        for change in (plain["attempt"] or {}).get("changes", ()):
            change.pop("content", None)
        await asyncio.to_thread(write_durably, self._state, orjson.dumps(plain))

    def config(self, digest: str) -> dict[str, Any] | None:
        if digest == EMPTY_DIGEST:
            return EMPTY
        try:
            found: dict[str, Any] = orjson.loads(self._config(digest).read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return None
        return found

    async def keep(self, digest: str, config: dict[str, Any]) -> None:
        path = self._config(digest)
        if self.config(digest) is None:
            await asyncio.to_thread(write_durably, path, canonical(config))

    async def forget_but(self, digests: Collection[str]) -> None:
        kept = {self._config(digest).name for digest in digests}
        for path in self._folder.glob("*.json"):
            if path.name not in kept and path != self._state:
                path.unlink(missing_ok=True)


class MemoryStore:
    """The same without a disk, for simulated nodes; it outlives an agent if it is handed on."""

    def __init__(self) -> None:
        self._state = State()
        self._configs: dict[str, dict[str, Any]] = {EMPTY_DIGEST: EMPTY}

    def load(self) -> State:
        return self._state

    async def save(self, state: State) -> None:
        self._state = state

    def config(self, digest: str) -> dict[str, Any] | None:
        return self._configs.get(digest)

    async def keep(self, digest: str, config: dict[str, Any]) -> None:
        self._configs[digest] = config

    async def forget_but(self, digests: Collection[str]) -> None:
        kept = {*digests, EMPTY_DIGEST}
        self._configs = {name: config for name, config in self._configs.items() if name in kept}
