"""Damages files the way bad cards, bad copies and people do: seeded, one kind at a time."""

import enum
import random
from pathlib import Path

from farshore_sim.faults.crash_model import PAGE_BYTES
from farshore_sim.faults.errors import FaultError

_HEADER_BYTES = 100
_MAGIC_BYTES = 16


class Damage(enum.StrEnum):
    MAGIC = "magic"
    """The first bytes say that it is another kind of file."""
    HEADER = "header"
    """A few bytes of the database's header, behind the magic ones."""
    PAGE = "page"
    """Sixty-four bytes somewhere in one page but the first."""
    WIPED_PAGE = "wiped page"
    """One page but the first is zeros, as a card leaves an erased block."""
    EVERY_PAGE = "every page"
    """Some bytes in the head of each page: no table can be read."""
    BIT = "bit"
    """One bit, anywhere."""
    TRUNCATED = "truncated"
    """The end is missing, not at the edge of a page."""
    HALF = "half"
    """The second half is missing, at the edge of a page."""
    EMPTY = "empty"
    NOT_A_DATABASE = "not a database"
    """As long as before, of random bytes."""
    FOLDER = "folder"
    """A folder in place of the file."""
    NO_PERMISSION = "no permission"
    """Mode 0: root may read it all the same."""


def damage(path: Path, kind: Damage, rng: random.Random) -> None:
    """Damages the file in place; for a write-ahead log too. Raises FaultError where it can't."""
    try:
        if kind is Damage.FOLDER:
            path.unlink()
            path.mkdir()
        elif kind is Damage.NO_PERMISSION:
            path.chmod(0)
        else:
            path.write_bytes(damaged(path.read_bytes(), kind, rng))
    except OSError as exc:
        raise FaultError(f"{path} can't be damaged: {exc.strerror}") from exc


def damaged(content: bytes, kind: Damage, rng: random.Random) -> bytes:
    """What of ``content`` is left. Raises FaultError for a file too short to have such a place."""
    data = bytearray(content)
    pages = len(data) // PAGE_BYTES
    if kind is not Damage.EMPTY and len(data) < 2 * PAGE_BYTES:
        raise FaultError(f"{len(data)} bytes are too few for damage of the kind {kind.value}")
    match kind:
        case Damage.MAGIC:
            data[:_MAGIC_BYTES] = rng.randbytes(_MAGIC_BYTES)
        case Damage.HEADER:
            start = rng.randrange(_MAGIC_BYTES, _HEADER_BYTES - 8)
            data[start : start + 8] = rng.randbytes(8)
        case Damage.PAGE:
            start = rng.randrange(PAGE_BYTES, len(data) - 64)
            data[start : start + 64] = rng.randbytes(64)
        case Damage.WIPED_PAGE:
            start = rng.randrange(1, pages) * PAGE_BYTES
            data[start : start + PAGE_BYTES] = bytes(PAGE_BYTES)
        case Damage.EVERY_PAGE:
            for page in range(pages):
                start = page * PAGE_BYTES + (_HEADER_BYTES if page == 0 else 0)
                data[start : start + 12] = rng.randbytes(12)
        case Damage.BIT:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case Damage.TRUNCATED:
            del data[rng.randrange(1, pages) * PAGE_BYTES + rng.randrange(1, PAGE_BYTES) :]
        case Damage.HALF:
            del data[max(1, pages // 2) * PAGE_BYTES :]
        case Damage.EMPTY:
            data.clear()
        case Damage.NOT_A_DATABASE:
            data[:] = rng.randbytes(len(data))
        case Damage.FOLDER | Damage.NO_PERMISSION:
            raise FaultError(f"damage of the kind {kind.value} is not in the content")
    return bytes(data)
