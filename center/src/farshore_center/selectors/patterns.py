"""Globs, regular expressions and subnets: each checked once, then asked about texts. Pure.

All three look at the whole text. None of them can be made slow by who writes it: globs have no
backtracking, regular expressions are RE2's, which has none either.
"""

import functools
import ipaddress
import re
import socket
from collections.abc import Callable
from typing import NamedTuple

import re2

MAX_PATTERN = 256

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network


class PatternError(ValueError):
    """Says what is wrong, and what was expected; it becomes a SelectorError with its position."""

    def __init__(self, detail: str, expected: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.expected = expected


class CharacterSet(NamedTuple):
    """``[a-z_]``, ``[!0-9]``: pairs of first and last character."""

    inverted: bool
    ranges: tuple[tuple[str, str], ...]


Piece = str | CharacterSet
"""Of a glob: ``*``, ``?``, a set; everything else is a set of one character."""


@functools.lru_cache(maxsize=512)
def read_glob(pattern: str) -> tuple[Piece, ...]:
    """``*`` any text, ``?`` one character, ``[abc]``, ``[a-z]``, ``[!abc]``."""
    if len(pattern) > MAX_PATTERN:
        raise PatternError(f"{len(pattern)} characters", f"{MAX_PATTERN} or fewer")
    pieces: list[Piece] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "[":
            end = pattern.find("]", at + 1 + (pattern[at : at + 1] == "!"))
            if end < 0:
                raise PatternError(f"the [ of {pattern!a} is not closed", "a ] after it")
            pieces.append(_read_set(pattern[at:end]))
            at = end + 1
        elif char == "*":
            if pieces[-1:] != ["*"]:
                pieces.append("*")
        else:
            pieces.append("?" if char == "?" else CharacterSet(False, ((char, char),)))
    return tuple(pieces)


def _read_set(text: str) -> CharacterSet:
    inverted = text.startswith("!")
    text = text[inverted:]
    ranges: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        first = last = text[at]
        if text[at + 1 : at + 2] == "-" and at + 2 < len(text):
            last = text[at + 2]
            at += 2
            if not (first.isalnum() and last.isalnum()):
                raise PatternError(
                    f"{first}-{last} in {text!a}", "a range of letters or of digits, '-' at the end"
                )
        if first > last:
            raise PatternError(
                f"the range {first}-{last} is empty", f"the lower one first: {last}-{first}"
            )
        ranges.append((first, last))
        at += 1
    return CharacterSet(inverted, tuple(dict.fromkeys(ranges)))


def glob_regex(pattern: str) -> str:
    """For Python's ``re``, whole text. Each star but the last takes the first fit and keeps it."""
    parts: list[str] = [""]
    for piece in read_glob(pattern):
        if piece == "*":
            parts.append("")
        else:
            parts[-1] += "." if isinstance(piece, str) else _regex_set(piece)
    head, *rest = parts
    if not rest:
        return head
    return head + "".join(f"(?>.*?{part})" for part in rest[:-1]) + f".*{rest[-1]}"


def glob_posix(pattern: str) -> str:
    """For PostgreSQL's ``~``: anchored; its engine needs no help against backtracking."""
    parts = [
        {"*": ".*", "?": "."}[piece] if isinstance(piece, str) else _regex_set(piece)
        for piece in read_glob(pattern)
    ]
    return f"^(?:{''.join(parts)})$"


def glob_sqlite(pattern: str) -> str:
    """For SQLite's GLOB: it inverts with ``^``, and knows no escape but a set."""
    return "".join(p if isinstance(p, str) else _sqlite_set(p) for p in read_glob(pattern))


def _regex_set(piece: CharacterSet) -> str:
    (first, last), *more = piece.ranges
    if first == last and not more and not piece.inverted:
        return re.escape(first)
    inside = "".join(f"{_escaped(a)}-{_escaped(b)}" for a, b in piece.ranges)
    return f"[{'^' if piece.inverted else ''}{inside}]"


def _escaped(char: str) -> str:
    return f"\\{char}" if char in "\\]^-[" else char


def _sqlite_set(piece: CharacterSet) -> str:
    (first, last), *more = piece.ranges
    if first == last and not more and not piece.inverted:
        return f"[{first}]" if first in "*?[" else first
    singles = [a for a, b in piece.ranges if a == b]
    ranges = [(a, b) for a, b in piece.ranges if a != b]
    # Where they stand last, ``^`` does not invert and ``-`` makes no range.
    inside = "".join(c for c in singles if c not in "]^-")
    inside = ("]" if "]" in singles else "") + inside + "".join(f"{a}-{b}" for a, b in ranges)
    inside += "".join(c for c in "^-" if c in singles)
    if not piece.inverted and inside.startswith("^"):
        inside = f"-{inside[:-1]}"  # of the two, nothing else is left
    return f"[{'^' if piece.inverted else ''}{inside}]"


@functools.lru_cache(maxsize=512)
def read_regex(pattern: str) -> Callable[[str], bool]:
    """RE2's syntax; PatternError where it can't be read."""
    options = re2.Options()
    options.log_errors = False
    # A set of one: it asks RE2 a third of what a match object costs, and a match is all we want.
    compiled = re2.Set.FullMatchSet(options)
    try:
        re2.compile(pattern, options)  # says why, where the set would not
        compiled.Add(pattern)
        compiled.Compile()
    except re2.error as exc:
        said = exc.args[0] if exc.args else ""
        why = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise PatternError(f"the regular expression can't be read: {why}", "RE2 syntax") from exc
    return lambda text: compiled.Match(text) is not None


@functools.lru_cache(maxsize=512)
def read_subnet(text: str) -> Subnet:
    try:
        return ipaddress.ip_network(text)
    except ValueError as exc:
        raise PatternError(
            f"{text[:64]!a} is no subnet: {exc}", "for example 10.0.0.0/8 or fd00::/8"
        ) from exc


def in_subnet(text: str) -> Callable[[str], bool]:
    """Whether a text is an address in it; what is no address is not."""
    subnet = read_subnet(text)
    family = socket.AF_INET if subnet.version == 4 else socket.AF_INET6
    mask, base = int(subnet.netmask), int(subnet.network_address)

    def within(address: str) -> bool:
        try:
            packed = socket.inet_pton(family, address)
        except (OSError, ValueError):
            return False
        return int.from_bytes(packed, "big") & mask == base

    return within


def subnet_globs(text: str) -> str:
    """A glob of all texts that can be addresses in it: what to look at one by one."""
    subnet = read_subnet(text)
    if subnet.version == 6:
        return _first_digits(f"{int(subnet.network_address) >> 112:04x}", subnet.prefixlen)
    octets = str(subnet.network_address).split(".")[: subnet.prefixlen // 8]
    return ".".join(octets) + (".*" if 0 < len(octets) < 4 else "*" if not octets else "")


def _first_digits(digits: str, prefix_bits: int) -> str:
    """Of IPv6. Four digits that begin with no zero have one spelling, but for their case."""
    fixed = min(prefix_bits // 4, len(digits))
    if fixed == 0 or digits[0] == "0":
        return "*:*"
    either = (f"[{d}{d.upper()}]" if d.isalpha() else d for d in digits[:fixed])
    return "".join(either) + "?" * (len(digits) - fixed) + ":*"
