"""ICMP echo (RFC 792, 4443): by a ping socket, which needs no right but the kernel's leave; else raw."""

import asyncio
import errno
import secrets
import socket
import struct
from dataclasses import dataclass

from farshore_edge.commands.verbs.probe.model import ProbeError, Way

NOT_PERMITTED = (
    "the kernel does not let this agent send ICMP echoes; either allow its group "
    "(sysctl net.ipv4.ping_group_range='0 2147483647') or give it CAP_NET_RAW; "
    "kind tcp needs neither"
)
ECHO_BYTES = 8
"""Of ICMP before the data."""
_DATAGRAM_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    protocol: int
    ask: int
    answer: int


_KINDS = {
    socket.AF_INET: _Kind(protocol=socket.IPPROTO_ICMP, ask=8, answer=0),
    socket.AF_INET6: _Kind(protocol=socket.IPPROTO_ICMPV6, ask=128, answer=129),
}


class Echo:
    """Sends echoes to one address, which it is connected to; close it."""

    def __init__(self, way: Way) -> None:
        """Raises ProbeError ``not_permitted``, OSError where there is no way."""
        self._kind = _KINDS[socket.AddressFamily(way.family)]
        self._token = secrets.token_bytes(8)
        self._number = secrets.randbelow(65_536)
        self._seq = 0
        self.socket, self._raw = _socket(way.family, self._kind.protocol)
        self._ipv4 = way.family == socket.AF_INET
        try:
            self.socket.setblocking(False)
            self.socket.connect((way.address, 0))
        except BaseException:
            self.socket.close()
            raise

    def close(self) -> None:
        self.socket.close()

    async def send(self, size: int) -> int:
        """``size`` bytes of data, at least the 8 by which an answer is known; the number of the echo."""
        self._seq = (self._seq + 1) & 0xFFFF
        data = self._token + bytes(max(0, size - len(self._token)))
        head = struct.pack("!BBHHH", self._kind.ask, 0, 0, self._number, self._seq)
        if self._raw and self._ipv4:  # else the kernel reckons it
            total = checksum(head + data)
            head = struct.pack("!BBHHH", self._kind.ask, 0, total, self._number, self._seq)
        await asyncio.get_running_loop().sock_sendall(self.socket, head + data)
        return self._seq

    async def answered(self, seq: int) -> None:
        """Returns when the echo with this number has come back. Raises OSError."""
        loop = asyncio.get_running_loop()
        while True:
            data = await loop.sock_recv(self.socket, _DATAGRAM_BYTES)
            if self._raw and self._ipv4:
                data = data[(data[0] & 15) * 4 :]
            if len(data) < ECHO_BYTES + 8:
                continue
            kind, _, _, _, found = struct.unpack_from("!BBHHH", data)
            mine = data[ECHO_BYTES : ECHO_BYTES + 8] == self._token
            if kind == self._kind.answer and found == seq and mine:
                return


def _socket(family: int, protocol: int) -> tuple[socket.socket, bool]:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            return socket.socket(family, kind, protocol), kind == socket.SOCK_RAW
        except OSError as exc:
            if exc.errno == errno.EAFNOSUPPORT:
                raise
    raise ProbeError("not_permitted", NOT_PERMITTED)


def checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
