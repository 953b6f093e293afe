"""Which files a configuration or a command may touch, and how their folder is entered without being misled.

Only below allowed roots, never in the agent's own folder. A folder is opened step by step from its
root without following links, and what is done in it is done by its descriptor: a link that is put
in place between look and deed leads nowhere.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from farshore_edge.errors import ConfigurationError

FOLDER_MODE = 0o755
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folders:
    """``data``: the agent's own folder; of it, only a root that lies within may be touched.
    ``setting``: the name of the one that gives the roots."""

    def __init__(
        self, roots: tuple[Path, ...], data: Path, *, setting: str = "config_roots"
    ) -> None:
        self._setting = setting
        self._roots = tuple(dict.fromkeys(os.path.realpath(root) for root in roots))
        self._data = os.path.realpath(data)

    def check(self, path: str, at: str) -> None:
        """Raises ConfigurationError for a path that may not be touched."""
        self._resolve(path, at)

    def _resolve(self, path: str, at: str) -> tuple[str, list[str], str]:
        """The root, the folders below it, and the file's name."""
        if os.path.normpath(path) != path or not os.path.isabs(path):
            message = f"{path}: expected an absolute path without '.', '..' and '//'"
            raise ConfigurationError("bad_path", message, at)
        folder = os.path.realpath(os.path.dirname(path))
        allowed = [root for root in self._roots if _within(folder, root)]
        if not allowed:
            below = ", ".join(self._roots) or f"nowhere: the setting {self._setting} is empty"
            message = f"{path} (in {folder}): allowed is what lies below: {below}"
            raise ConfigurationError("outside_roots", message, at)
        root = max(allowed, key=len)
        if _within(folder, self._data) and not _within(root, self._data):
            message = f"{path}: the agent's own folder is not for others"
            raise ConfigurationError("outside_roots", message, at)
        below = os.path.relpath(folder, root)
        return root, [] if below == "." else below.split("/"), os.path.basename(path)

    def missing(self, path: str, at: str) -> list[str]:
        """Folders that would have to be made for the file, outermost first."""
        root, steps, _ = self._resolve(path, at)
        made, folder = [], root
        for step in steps:
            folder = os.path.join(folder, step)
            if not os.path.lexists(folder):
                made.append(folder)
        return made

    @contextlib.contextmanager
    def enter(self, path: str, at: str = "", *, make: bool = False) -> Iterator[tuple[int, str]]:
        """The file's folder as a descriptor, and the file's name in it.

        Raises FileNotFoundError where a folder is missing, ConfigurationError ``bad_path`` where one
        is none, or a link.
        """
        root, steps, name = self._resolve(path, at)
        try:
            folder = os.open(root, OPEN_FOLDER)
        except FileNotFoundError as exc:
            raise ConfigurationError("no_root", f"{root}: the allowed root is missing", at) from exc
        try:
            for step in steps:
                below = _step(folder, step, path, at, make=make)
                os.close(folder)
                folder = below
            yield folder, name
        finally:
            os.close(folder)

    def remove(self, folders: list[str]) -> None:
        """Takes folders away again that are empty, innermost first."""
        for folder in reversed(folders):
            with contextlib.suppress(OSError, ConfigurationError), self.enter(folder) as (at, name):
                os.rmdir(name, dir_fd=at)


def _step(folder: int, step: str, path: str, at: str, *, make: bool) -> int:
    try:
        return os.open(step, OPEN_FOLDER, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
    except OSError as exc:
        message = f"{path}: {step} is no folder, or a link"
        raise ConfigurationError("bad_path", message, at) from exc
    os.mkdir(step, FOLDER_MODE, dir_fd=folder)
    made = _step(folder, step, path, at, make=False)
    os.fchmod(made, FOLDER_MODE)  # whatever umask the agent was started with
    os.fsync(folder)
    return made


def _within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
