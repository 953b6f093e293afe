"""Reading the small files of /proc and /sys below a root, where any of them may be missing."""

from __future__ import annotations

import os
from pathlib import Path

FILE_MAX_BYTES = 1 << 20
TEXT_MAX_CHARS = 128


def read_file(path: Path) -> str:
    """The file's text, "" when it can't be had."""
    try:
        with path.open("rb") as file:
            return file.read(FILE_MAX_BYTES).decode(errors="replace")
    except OSError:
        return ""


def read_text(path: Path) -> str | None:
    """The file as one short printable text, None when it can't be had or says nothing."""
    return clean(read_file(path))


def clean(text: str) -> str | None:
    """Printable, single-spaced and short; firmware fills its fields with all sorts of things."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.split())[:TEXT_MAX_CHARS] or None


def read_int(path: Path) -> int | None:
    try:
        return int(read_file(path))
    except ValueError:
        return None


def entries(folder: Path) -> list[str]:
    """The names in a folder in natural order (sda before sdaa), none when it can't be had."""
    try:
        return sorted(os.listdir(folder), key=lambda name: (len(name), name))
    except OSError:
        return []


def link_name(link: Path) -> str | None:
    """The last part of what a symbolic link points to."""
    try:
        return os.path.basename(os.readlink(link))
    except OSError:
        return None


def known(**fields: object) -> dict[str, object]:
    """The fields that have a value; a fact that can't be had is absent."""
    return {key: value for key, value in fields.items() if value is not None}
