"""Names on the wire: nodes, group segments, verbs, streams, units; and group paths.

A group path is written ``eu/hamburg/line3`` for people and travels as one topic level,
``eu~hamburg~line3``.
"""

import re

from farshore_protocol.errors import RemoteProtocolError

NAME = r"[a-z0-9][a-z0-9_-]{0,63}"
MAX_GROUP_DEPTH = 7
EVERYONE = "all"
"""The group that every node listens to; it is no group of the tree."""

_NAME = re.compile(NAME)
_EXPECTED = "1 to 64 of a-z, 0-9, '_', '-', beginning with a letter or digit"


class BadNameError(RemoteProtocolError):
    """A name that can't stand on the wire."""

    def __init__(self, detail: str) -> None:
        super().__init__("bad_name", detail)


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def check_name(text: str, what: str = "name") -> str:
    """``text`` itself, or an error that says what was expected of this ``what``."""
    if not is_name(text):
        raise BadNameError(f"{what} {text[:80]!r}: expected {_EXPECTED}")
    return text


def check_group(path: str) -> str:
    """The group path itself (``""`` is the root), or an error that names the wrong segment."""
    if path == "":
        return path
    segments = path.split("/")
    shown = repr(path[:200])
    if segments[0] == EVERYONE:
        raise BadNameError(f"group {shown}: {EVERYONE!r} stands for every node, and is no group")
    if len(segments) > MAX_GROUP_DEPTH:
        raise BadNameError(
            f"group {shown}: {len(segments)} levels, expected {MAX_GROUP_DEPTH} or fewer"
        )
    for segment in segments:
        check_name(segment, f"group {shown}: segment")
    return path


def group_ancestors(path: str) -> tuple[str, ...]:
    """The group and everything above it, root first: ``eu``, ``eu/hamburg``, ``eu/hamburg/line3``."""
    if path == "":
        return ()
    segments = path.split("/")
    return tuple("/".join(segments[: i + 1]) for i in range(len(segments)))


def group_to_level(path: str) -> str:
    """A group path, or ``EVERYONE``, as one topic level."""
    return path if path == EVERYONE else check_group(path).replace("/", "~")


def group_from_level(level: str) -> str:
    """The inverse of ``group_to_level``."""
    return level if level == EVERYONE else check_group(level.replace("~", "/"))


def check_tree_group(path: str) -> str:
    """A group of the tree: any group path but ``all``, which stands for everyone."""
    if path.split("/")[0] == EVERYONE:
        raise BadNameError(
            f"group {path!r}: {EVERYONE!r} stands for everyone, expected another name"
        )
    return check_group(path)
