"""Cuts a stream of bytes into MQTT control packets.

Pure, and the only reader of lengths: a packet that is too large is refused by its fixed header,
before its body is collected. It does not look into a body.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from farshore_center.broker.errors import PeerError

_MAX_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Frame:
    """One control packet: what the first byte says, and the body."""

    kind: int
    flags: int
    body: bytes


class FrameSplitter:
    """Feed it what arrives; it gives what is complete."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The packets that ``data`` completes. Exhaust it before feeding again."""
        buffer = self._buffer
        buffer += data
        start = 0
        while (header := self._header(start)) is not None:
            body_start, body_end = header
            if body_end > len(buffer):
                break
            first = buffer[start]
            yield Frame(first >> 4, first & 0x0F, bytes(buffer[body_start:body_end]))
            start = body_end
        del buffer[:start]

    def _header(self, start: int) -> tuple[int, int] | None:
        """Where the body of the packet at ``start`` begins and ends; None: not known yet."""
        length, shift = 0, 0
        for at in range(start + 1, min(start + 1 + _MAX_LENGTH_BYTES, len(self._buffer))):
            byte = self._buffer[at]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                if length > self._max_bytes:
                    raise PeerError(
                        "too_large",
                        f"a packet of {length} bytes, expected {self._max_bytes} or fewer",
                    )
                return at + 1, at + 1 + length
        if len(self._buffer) - start > _MAX_LENGTH_BYTES:
            raise PeerError("malformed", "a remaining length of more than four bytes")
        return None
