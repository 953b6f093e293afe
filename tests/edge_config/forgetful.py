"""A folder whose power can be lost: what a real program has synced of it, call by call.

Follows the calls by which Python changes a disk, in this process. A file's content is durable when the
file was synced, a name when its folder was; what came after may be there or not, folder by folder. A name
that is there before its file was synced leads to an empty file.
"""

import os
import random
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Tree = dict[str, tuple[int, bytes | None]]
"""Mode and content by path; None is a folder."""
_Names = dict[str, int]
CALLS = ("fsync", "rename", "replace", "unlink", "mkdir", "rmdir")


class ForgetfulFolder:
    """``states``: how the folder may be after a power loss, each with ``said()`` of that moment."""

    def __init__(self, folder: Path, rng: random.Random, said: Callable[[], int]) -> None:
        self._folder = folder
        self._rng = rng
        self._said = said
        self._tokens: dict[int, int] = {}
        self._made = 0
        self._files: dict[int, tuple[int, bytes]] = {}
        self._folders: dict[int, _Names] = {}
        self._modes: dict[int, int] = {}
        self.calls = 0
        self.states: list[tuple[int, Tree]] = []
        self._take_over(folder)

    def _take_over(self, folder: Path) -> None:
        """What is there at the beginning is durable."""
        self._folders[self._token(folder.lstat())] = self._names(folder)
        for path in folder.rglob("*"):
            found = path.lstat()
            if path.is_dir():
                self._folders[self._token(found)] = self._names(path)
            else:
                self._files[self._token(found)] = (found.st_mode, path.read_bytes())

    def _token(self, found: os.stat_result) -> int:
        """A number of its own for each file: the disk gives the numbers of deleted ones again."""
        if found.st_ino not in self._tokens:
            self._made += 1
            self._tokens[found.st_ino] = self._made
        token = self._tokens[found.st_ino]
        self._modes[token] = found.st_mode
        return token

    def _names(self, folder: Path) -> _Names:
        return {path.name: self._token(path.lstat()) for path in folder.iterdir()}

    def follow(self, patch: pytest.MonkeyPatch) -> None:
        for name in CALLS:
            patch.setattr(os, name, self._followed(name, getattr(os, name)))

    def _followed(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            place = self._place(name, args, more)
            if not place.is_relative_to(self._folder):
                return real(*args, **more)
            self.calls += 1
            self._power_may_fail()
            gone = None
            if name != "fsync" and os.path.lexists(place):
                gone = place.lstat().st_ino
            result = real(*args, **more)
            if name == "fsync":
                self._synced(args[0], place)
            elif gone is not None:
                self._tokens.pop(gone, None)
            self._power_may_fail()
            return result

        return call

    def _place(self, name: str, args: tuple[Any, ...], more: dict[str, Any]) -> Path:
        """The file that is synced, made or taken away; of a rename, the one that gives way."""
        if name == "fsync":
            return Path(os.readlink(f"/proc/self/fd/{args[0]}"))
        renames = name in ("rename", "replace")
        at = more.get("dst_dir_fd" if renames else "dir_fd")
        base = Path() if at is None else Path(os.readlink(f"/proc/self/fd/{at}"))
        given: str | Path = args[1 if renames else 0]
        return base / given

    def _synced(self, descriptor: int, place: Path) -> None:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            self._folders[self._token(found)] = self._names(place)
        else:
            self._files[self._token(found)] = (found.st_mode, place.read_bytes())

    def _power_may_fail(self) -> None:
        said = self._said()
        for chosen in (lambda: False, lambda: True, lambda: self._rng.random() < 0.5):
            tree: Tree = {}
            self._survive(self._folder, self._token(self._folder.lstat()), "", chosen, tree)
            if (said, tree) not in self.states[-12:]:
                self.states.append((said, tree))

    def _survive(
        self, live: Path | None, token: int, at: str, newest: Callable[[], bool], tree: Tree
    ) -> None:
        """``newest``: whether a folder has the names that it has now, or those of its last sync."""
        synced = self._folders.get(token, {})
        names = self._names(live) if live is not None and live.is_dir() and newest() else synced
        for name, child in sorted(names.items()):
            path = f"{at}{name}"
            mode = self._modes[child]
            if stat.S_ISDIR(mode):
                tree[path] = (mode, None)
                below = self._folder / path
                here = below.is_dir() and self._token(below.lstat()) == child
                self._survive(below if here else None, child, path + "/", newest, tree)
            else:
                tree[path] = self._files.get(child, (stat.S_IFREG | 0o600, b""))


def lay_out(folder: Path, tree: Tree) -> None:
    """The folder becomes what the power loss has left."""
    shutil.rmtree(folder)
    folder.mkdir()
    for path, (mode, content) in tree.items():
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
        (folder / path).chmod(stat.S_IMODE(mode))
