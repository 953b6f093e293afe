"""Questions to and answers of a DNS server as bytes (RFC 1035, 3596, 2782). Pure.

Only what a probe shows; it trusts no length and follows no pointer forwards.
"""

import ipaddress
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

TYPES: Mapping[str, int] = {
    "A": 1,
    "NS": 2,
    "CNAME": 5,
    "SOA": 6,
    "PTR": 12,
    "MX": 15,
    "TXT": 16,
    "AAAA": 28,
    "SRV": 33,
}
_NAMES = {number: name for name, number in TYPES.items()}
CODES: Mapping[int, str] = {
    1: "the server can't read the question",
    2: "the server failed",
    3: "no such name",
    4: "not implemented by the server",
    5: "the server refuses",
}
RECORDS_MOST = 64


class WireError(Exception):
    """Bytes that are no answer to the question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    type: str
    ttl_s: int
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``code``: 0 for success, else one of ``CODES``; ``cut``: it did not fit into one datagram."""

    code: int
    cut: bool
    records: tuple[Record, ...]


def question(number: int, name: str, kind: str) -> bytes:
    """Raises WireError for a name that can't be asked for."""
    head = struct.pack("!6H", number, 0x0100, 1, 0, 0, 0)  # recursion desired
    return head + _labels(name) + struct.pack("!2H", TYPES[kind], 1)


def _labels(name: str) -> bytes:
    try:
        labels = [label.encode("ascii") for label in name.rstrip(".").split(".")]
    except UnicodeEncodeError as exc:
        raise WireError(f"{name!r}: expected a name in ASCII") from exc
    if not all(0 < len(label) < 64 for label in labels) or sum(map(len, labels)) > 250:
        raise WireError(f"{name!r}: expected labels of 1 to 63 characters, 253 in all")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def answer(data: bytes, number: int) -> Answer:
    """The answer to question ``number``. Raises WireError."""
    try:
        return _answer(data, number)
    except (struct.error, IndexError, ValueError) as exc:
        raise WireError(f"an answer that can't be read: {exc}") from exc


def _answer(data: bytes, number: int) -> Answer:
    found, flags, questions, answers, _, _ = struct.unpack_from("!6H", data)
    if found != number or not flags & 0x8000:
        raise WireError("an answer to another question")
    at = 12
    for _ in range(questions):
        _, at = _name(data, at)
        at += 4
    records = []
    for _ in range(min(answers, RECORDS_MOST)):
        _, at = _name(data, at)
        kind, _, ttl_s, length = struct.unpack_from("!2HIH", data, at)
        at += 10
        if at + length > len(data):
            raise WireError("a record that is longer than its answer")
        if kind in _NAMES:
            value = _VALUES[_NAMES[kind]](data, at, length)
            records.append(Record(type=_NAMES[kind], ttl_s=ttl_s, value=value))
        at += length
    return Answer(code=flags & 15, cut=bool(flags & 0x0200), records=tuple(records))


def _name(data: bytes, at: int) -> tuple[str, int]:
    """The name at ``at``, and where what follows it begins."""
    labels: list[str] = []
    after = 0
    end = at + 1
    while length := data[at]:
        if length >= 0xC0:
            pointer = struct.unpack_from("!H", data, at)[0] & 0x3FFF
            after = after or at + 2
            if pointer >= end - 1:  # only backwards, so that it ends
                raise WireError("a name that points forwards")
            at = pointer
            end = at + 1
            continue
        if length > 63 or len(labels) > 127:
            raise WireError("a name that is too long")
        labels.append(data[at + 1 : at + 1 + length].decode("ascii", "backslashreplace"))
        at += length + 1
    return ".".join(labels) or ".", after or at + 1


def _text(data: bytes, at: int, length: int) -> str:
    parts, end = [], at + length
    while at < end:
        size = data[at]
        parts.append(data[at + 1 : min(end, at + 1 + size)].decode("utf-8", "backslashreplace"))
        at += size + 1
    return "".join(parts)


def _mail(data: bytes, at: int, _length: int) -> str:
    return f"{struct.unpack_from('!H', data, at)[0]} {_name(data, at + 2)[0]}"


def _service(data: bytes, at: int, _length: int) -> str:
    priority, weight, port = struct.unpack_from("!3H", data, at)
    return f"{priority} {weight} {port} {_name(data, at + 6)[0]}"


def _authority(data: bytes, at: int, _length: int) -> str:
    server, at = _name(data, at)
    mail, at = _name(data, at)
    return f"{server} {mail} {' '.join(map(str, struct.unpack_from('!5I', data, at)))}"


def _address(data: bytes, at: int, length: int) -> str:
    return str(ipaddress.ip_address(data[at : at + length]))


def _one_name(data: bytes, at: int, _length: int) -> str:
    return _name(data, at)[0]


_VALUES: Mapping[str, Callable[[bytes, int, int], str]] = {
    "A": _address,
    "AAAA": _address,
    "NS": _one_name,
    "CNAME": _one_name,
    "PTR": _one_name,
    "MX": _mail,
    "SRV": _service,
    "SOA": _authority,
    "TXT": _text,
}
