"""Lays out a tar archive or a wheel (a zip archive) in a new directory, and nothing outside of it."""

import stat
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

COPY_BYTES = 256 * 1024


class UnpackError(Exception):
    """It is no archive, or one that must not be unpacked; names the entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """``bytes``: of all that is unpacked; ``entries``: how many there may be."""

    bytes: int
    entries: int = 200_000


def unpack(archive: Path, into: Path, bounds: Bounds) -> None:
    """``into``: does not exist yet. Raises UnpackError, OSError."""
    into.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            _unzip(archive, into, bounds)
        elif tarfile.is_tarfile(archive):
            _untar(archive, into, bounds)
        else:
            raise UnpackError("it is neither a tar archive nor a wheel")
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        RuntimeError,
        NotImplementedError,
    ) as exc:
        raise UnpackError(f"it can't be unpacked: {exc}") from exc


def _untar(archive: Path, into: Path, bounds: Bounds) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise UnpackError("this Python can't unpack tar archives safely; expected 3.11.4 or newer")
    count = size = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            count, size = count + 1, size + max(member.size, 0)
            _check(bounds, count, size)
            # No path and no link outside, no device, no set-user-id (PEP 706).
            tar.extract(member, into, filter="data")


def _unzip(archive: Path, into: Path, bounds: Bounds) -> None:
    size = 0
    with zipfile.ZipFile(archive) as packed:
        for count, member in enumerate(packed.infolist(), start=1):
            path = PurePosixPath(member.filename)
            mode = member.external_attr >> 16
            if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
                raise UnpackError(f"{member.filename!r} lies outside of the archive")
            if stat.S_ISLNK(mode):
                raise UnpackError(f"{member.filename!r} is a link")
            _check(bounds, count, size)
            target = into / path
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with packed.open(member) as source, target.open("wb") as file:
                # What its directory says of its size need not be true.
                while data := source.read(COPY_BYTES):
                    size += len(data)
                    _check(bounds, count, size)
                    file.write(data)
            if mode & 0o111:
                target.chmod(0o755)


def _check(bounds: Bounds, count: int, size: int) -> None:
    if count > bounds.entries or size > bounds.bytes:
        raise UnpackError(f"it has more than {bounds.entries} entries or {bounds.bytes} bytes")
