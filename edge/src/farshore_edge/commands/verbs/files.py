"""``file-read`` and ``file-write``: files below the folders that the node's settings allow.

The folder is entered without following links, so nothing outside is reached by one. A file is written
whole or not at all: into a file beside it, synced, renamed over it.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, BinaryIO

from farshore_protocol.codec import encode
from farshore_protocol.commands import CommandError
from farshore_protocol.commands.catalogue import FileReadArgs, FileWriteArgs
from farshore_protocol.commands.catalogue.files import (
    PIECE_MAX_BYTES,
    FileReadResult,
    FileWriteResult,
)

from farshore_edge.commands.verbs.model import Context, Handler, Outcome
from farshore_edge.config.folders import Folders
from farshore_edge.errors import ConfigurationError

TEXT_MAX_BYTES = 80 * 1024
"""Of a piece as JSON text; beyond that base64 is shorter."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Refused(Exception):
    """What a verb can't do, in the words of its report."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def read(folders: Folders) -> Handler:
    async def handle(args: FileReadArgs, _context: Context) -> Outcome:
        return await in_thread(lambda: asdict(_read(folders, args)))

    return handle


def write(folders: Folders) -> Handler:
    async def handle(args: FileWriteArgs, _context: Context) -> Outcome:
        return await in_thread(lambda: asdict(_write(folders, args)))

    return handle


async def in_thread(work: Callable[[], dict[str, Any]]) -> Outcome:
    """What the work, which may block, gives or fails with."""
    try:
        return Outcome(result=await asyncio.to_thread(work))
    except ConfigurationError as exc:
        return _failed(exc.code, exc.message)
    except Refused as exc:
        return _failed(exc.code, str(exc))
    except OSError as exc:
        return _failed("io_error", f"{exc.filename or 'the file'}: {exc.strerror or exc}")


def _failed(code: str, message: str) -> Outcome:
    return Outcome(state="failed", error=CommandError(code=code, message=message))


@contextlib.contextmanager
def open_below(folders: Folders, path: str) -> Iterator[BinaryIO]:
    """A regular file for reading; raises Refused, ConfigurationError, OSError."""
    try:
        with folders.enter(path) as (folder, name):
            file = os.open(name, _READ, dir_fd=folder)
    except FileNotFoundError as exc:
        raise Refused("not_found", f"{path}: there is no such file") from exc
    except OSError as exc:
        raise Refused("io_error", f"{path}: {exc.strerror} (links are not followed)") from exc
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise Refused("not_a_file", f"{path}: is no regular file")
        yield opened


def _read(folders: Folders, args: FileReadArgs) -> FileReadResult:
    with open_below(folders, args.path) as file:
        about = os.fstat(file.fileno())
        file.seek(args.offset)
        data = file.read(args.length)
        end = not file.read(1)
    encoding, text = _text(args, data)
    return FileReadResult(
        path=args.path,
        size=about.st_size,
        offset=args.offset,
        length=len(data),
        end=end,
        encoding=encoding,
        data=text,
        sha256=hashlib.sha256(data).hexdigest(),
        mode=f"{stat.S_IMODE(about.st_mode):04o}",
        modified_ms=about.st_mtime_ns // 1_000_000,
    )


def _text(args: FileReadArgs, data: bytes) -> tuple[str, str]:
    if args.encoding != "base64":
        try:
            text = data.decode()
        except UnicodeDecodeError as exc:
            if args.encoding == "text":
                message = f"{args.path}: no UTF-8 at byte {args.offset + exc.start}; expected text"
                raise Refused("not_text", message) from exc
        else:
            if len(encode(text)) <= TEXT_MAX_BYTES or args.encoding == "text":
                return "text", text
    return "base64", base64.b64encode(data).decode()


def _write(folders: Folders, args: FileWriteArgs) -> FileWriteResult:
    data = _data(args)
    digest = hashlib.sha256(data).hexdigest()
    if args.sha256 not in (None, digest):
        message = f"{args.path}: what came has SHA-256 {digest}, expected {args.sha256}"
        raise Refused("bad_digest", message)
    try:
        with folders.enter(args.path) as (folder, name):
            before, mode = _there(folder, name, args.path)
            _expected(args, before)
            wanted = int(args.mode, 8) if args.mode is not None else mode
            if before != digest or wanted != mode:
                _replace(folder, name, data, 0o644 if wanted is None else wanted)
    except FileNotFoundError as exc:
        raise Refused("not_found", f"{args.path}: its folder is missing") from exc
    return FileWriteResult(
        path=args.path, size=len(data), sha256=digest, before=before, changed=before != digest
    )


def _data(args: FileWriteArgs) -> bytes:
    if args.encoding == "text":
        data = args.data.encode()
    else:
        try:
            data = base64.b64decode(args.data, validate=True)
        except binascii.Error as exc:
            raise Refused("bad_args", f"data: is no base64: {exc}") from exc
    if len(data) > PIECE_MAX_BYTES:
        message = f"data: {len(data)} bytes, expected {PIECE_MAX_BYTES} or fewer"
        raise Refused("bad_args", message)
    return data


def _there(folder: int, name: str, path: str) -> tuple[str | None, int | None]:
    """Digest and mode of what is there; nothing: None, None."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None, None
    if not stat.S_ISREG(found.st_mode):
        raise Refused("not_a_file", f"{path}: is no regular file; it is left alone")
    with os.fdopen(os.open(name, _READ, dir_fd=folder), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), stat.S_IMODE(found.st_mode)


def _expected(args: FileWriteArgs, before: str | None) -> None:
    if args.expect is None or args.expect == (before or "absent"):
        return
    there = "nothing is there" if before is None else f"what is there has SHA-256 {before}"
    raise Refused("conflict", f"{args.path}: {there}, expected {args.expect}; nothing was written")


def _replace(folder: int, name: str, data: bytes, mode: int) -> None:
    beside = f".{name[:200]}.{secrets.token_hex(6)}.farshore"
    file = os.open(beside, _NEW, 0o600, dir_fd=folder)
    try:
        with os.fdopen(file, "wb") as out:
            out.write(data)
            out.flush()
            with contextlib.suppress(FileNotFoundError):
                owner = os.stat(name, dir_fd=folder, follow_symlinks=False)
                with contextlib.suppress(PermissionError):
                    os.fchown(out.fileno(), owner.st_uid, owner.st_gid)
            os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside, dir_fd=folder)
        raise
    os.fsync(folder)
