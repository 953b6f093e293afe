"""Puts files in place so that any moment shows the old or the new one, and back again.

Blocking: callers run it in a thread. A change's ``before`` says what was there; its content lies in
a backup in the agent's folder until the change is kept.
"""

import contextlib
import grp
import hashlib
import os
import pwd
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from farshore_edge.config.folders import OPEN_FOLDER, Folders
from farshore_edge.config.model import Change
from farshore_edge.errors import ConfigurationError

MAX_FILE_BYTES = 64 * 1024 * 1024
"""Of a file that is to be replaced: its backup has to fit beside it."""
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """``content`` None: no file. ``uid`` and ``gid`` None: whoever it is."""

    path: str
    content: bytes | None
    mode: int = 0o644
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A regular file as it is; ``digest`` of its content."""

    digest: str
    mode: int
    uid: int
    gid: int

    def __str__(self) -> str:
        return f"{self.digest[:19]}…, mode {self.mode:04o}, owner {self.uid}:{self.gid}"


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def uid_of(owner: str | None, at: str) -> int | None:
    if owner is None or owner.isdecimal():
        return None if owner is None else int(owner)
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError as exc:
        raise ConfigurationError("no_such_owner", f"no such user: {owner}", at) from exc


def gid_of(group: str | None, at: str) -> int | None:
    if group is None or group.isdecimal():
        return None if group is None else int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as exc:
        raise ConfigurationError("no_such_owner", f"no such group: {group}", at) from exc


class Placer:
    """``backups``: a folder of the agent's own."""

    def __init__(self, folders: Folders, backups: Path) -> None:
        self._folders = folders
        self._backups = backups

    # Looking

    def plan(self, document: str, name: str, at: str, wanted: Wanted) -> Change | None:
        """What has to change for the file, None if nothing. Raises ConfigurationError."""
        self._folders.check(wanted.path, at)
        found = self._look(wanted.path, at)
        if _fits(found, wanted):
            return None
        self._check_owner(wanted, at)
        missing = [] if wanted.content is None else self._folders.missing(wanted.path, at)
        return Change(
            document=document,
            name=name,
            path=at,
            expected=_described(wanted, found),
            found="no file" if found is None else str(found),
            want={
                "path": wanted.path,
                "absent": wanted.content is None,
                "mode": wanted.mode,
                "uid": wanted.uid,
                "gid": wanted.gid,
            },
            before={"file": None if found is None else asdict(found), "folders": missing},
            content=wanted.content,
        )

    def _look(self, path: str, at: str = "") -> Found | None:
        try:
            with self._folders.enter(path, at) as (folder, name):
                content, status = _read(folder, name, path, at)
        except FileNotFoundError:
            return None
        return Found(
            digest=sha256(content),
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
        )

    def _check_owner(self, wanted: Wanted, at: str) -> None:
        foreign = wanted.uid not in (None, os.geteuid()) or (
            wanted.gid is not None and wanted.gid not in (os.getegid(), *os.getgroups())
        )
        if foreign and os.geteuid() != 0:
            message = f"{wanted.path}: an agent that is not root can't give files away"
            raise ConfigurationError("not_permitted", message, at)

    # Changing

    def stage(self, change: Change) -> None:
        """The new content beside the file, the old one in the backup; both synced."""
        want, before = change.want, change.before["file"]
        if before is not None:
            with self._folders.enter(want["path"], change.path) as (folder, name):
                content, _ = _read(folder, name, want["path"], change.path)
            if sha256(content) != before["digest"]:
                message = f"{want['path']}: another program is writing it just now"
                raise ConfigurationError("busy", message, change.path)
            self._back_up(change, content)
        if not want["absent"]:
            content = change.content or b""
            with self._folders.enter(want["path"], change.path, make=True) as (folder, _):
                _write(folder, _staged(want["path"]), content, want)

    def _back_up(self, change: Change, content: bytes) -> None:
        self._backups.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = os.open(self._backups, OPEN_FOLDER)
        try:
            _write(folder, _backup(change.want["path"]), content, {"mode": 0o600})
            os.fsync(folder)
        finally:
            os.close(folder)

    def apply(self, change: Change) -> None:
        want = change.want
        try:
            with self._folders.enter(want["path"], change.path) as (folder, name):
                if want["absent"]:
                    os.unlink(name, dir_fd=folder)
                else:
                    os.rename(_staged(want["path"]), name, src_dir_fd=folder, dst_dir_fd=folder)
                os.fsync(folder)
        except FileNotFoundError:
            if not want["absent"]:
                raise

    def undo(self, change: Change) -> None:
        path, before = change.want["path"], change.before["file"]
        if before is None:
            with contextlib.suppress(FileNotFoundError), self._folders.enter(path) as (at, name):
                os.unlink(name, dir_fd=at)
                os.fsync(at)
            return
        if self._still(path, before):
            return
        content = (self._backups / _backup(path)).read_bytes()
        with self._folders.enter(path, change.path, make=True) as (folder, name):
            _write(folder, _staged(path), content, before)
            os.rename(_staged(path), name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    def _still(self, path: str, before: dict[str, Any]) -> bool:
        try:
            found = self._look(path)
        except ConfigurationError:
            return False
        return found is not None and asdict(found) == before

    def discard(self, change: Change, *, kept: bool) -> None:
        path = change.want["path"]
        with contextlib.suppress(OSError), self._folders.enter(path) as (folder, _):
            os.unlink(_staged(path), dir_fd=folder)
        (self._backups / _backup(path)).unlink(missing_ok=True)
        if not kept:
            self._folders.remove(change.before["folders"])


def _fits(found: Found | None, wanted: Wanted) -> bool:
    if wanted.content is None or found is None:
        return wanted.content is None and found is None
    return (
        found.digest == sha256(wanted.content)
        and found.mode == wanted.mode
        and wanted.uid in (None, found.uid)
        and wanted.gid in (None, found.gid)
    )


def _described(wanted: Wanted, found: Found | None) -> str:
    if wanted.content is None:
        return "no file"
    uid = wanted.uid if wanted.uid is not None else (os.geteuid() if found is None else found.uid)
    gid = wanted.gid if wanted.gid is not None else (os.getegid() if found is None else found.gid)
    return str(Found(digest=sha256(wanted.content), mode=wanted.mode, uid=uid, gid=gid))


def _read(folder: int, name: str, path: str, at: str) -> tuple[bytes, os.stat_result]:
    try:
        file = os.open(name, READ, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as exc:
        message = f"{path}: a link, or not to be opened: {exc.strerror}"
        raise ConfigurationError("not_a_file", message, at) from exc
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError("not_a_file", f"{path}: is no regular file", at)
        if status.st_size > MAX_FILE_BYTES:
            message = (
                f"{path}: {status.st_size} bytes are there, expected {MAX_FILE_BYTES} or fewer"
            )
            raise ConfigurationError("too_large", message, at)
        with os.fdopen(file, "rb", closefd=False) as opened:
            return opened.read(MAX_FILE_BYTES + 1), status
    finally:
        os.close(file)


def _write(folder: int, name: str, content: bytes, how: dict[str, Any]) -> None:
    """A new file, synced, with mode and owner; whatever an earlier attempt has left gives way."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    with os.fdopen(os.open(name, WRITE, 0o600, dir_fd=folder), "wb") as file:
        file.write(content)
        file.flush()
        uid, gid = how.get("uid"), how.get("gid")
        if uid is not None or gid is not None:
            os.fchown(file.fileno(), -1 if uid is None else uid, -1 if gid is None else gid)
        os.fchmod(file.fileno(), how["mode"])
        os.fsync(file.fileno())


def _staged(path: str) -> str:
    """Beside the file, so that a rename is enough; known without a journal entry of its own."""
    return f".farshore-{hashlib.sha256(path.encode()).hexdigest()[:16]}.new"


def _backup(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:32]
