"""The kind ``path-mtu``: the largest IP packet that passes whole, by echoes that must not be split.

The kernel learns from the routers what is too big for them and tells us (IP_MTU); the echo that comes
back proves the size. Without the right to send echoes it is tried by UDP to a port where nobody listens.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from typing import Protocol

from farshore_protocol.commands.catalogue import NetProbeArgs

from farshore_edge.commands.verbs.probe.echo import ECHO_BYTES, Echo
from farshore_edge.commands.verbs.probe.model import Found, ProbeError, Way, reason
from farshore_edge.commands.verbs.probe.mtu_search import MtuSearch

_DISCOVER, _DO, _MTU = 10, 2, 14  # IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU of linux/in.h
_DISCOVER6, _MTU6 = 23, 24
_HEADER_BYTES = {socket.AF_INET: 20, socket.AF_INET6: 40}
_UDP_BYTES = 8
PORT = 33_434
"""As traceroute: nobody listens there."""
TRIES = 2
PROBES_MOST = 40
BIGGEST_BYTES = 9216


class _Prober(Protocol):
    method: str
    socket: socket.socket
    own_bytes: int

    async def tried(self, size: int) -> None: ...

    def close(self) -> None: ...


class _ByEcho:
    method = "icmp"
    own_bytes = ECHO_BYTES

    def __init__(self, way: Way) -> None:
        self._echo = Echo(way)
        self.socket = self._echo.socket

    async def tried(self, size: int) -> None:
        await self._echo.answered(await self._echo.send(size))

    def close(self) -> None:
        self._echo.close()


class _ByUdp:
    method = "udp"
    own_bytes = _UDP_BYTES

    def __init__(self, way: Way) -> None:
        self.socket = socket.socket(way.family, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        try:
            self.socket.connect((way.address, PORT))
        except BaseException:
            self.socket.close()
            raise

    async def tried(self, size: int) -> None:
        """That the port is closed is the answer."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionRefusedError):
            await loop.sock_sendall(self.socket, bytes(size))
            await loop.sock_recv(self.socket, 1)

    def close(self) -> None:
        self.socket.close()


async def probe(args: NetProbeArgs, way: Way, by_echo: Callable[[Way], _Prober] = _ByEcho) -> Found:
    try:
        prober = _prober(way, by_echo)
    except OSError as exc:
        raise ProbeError("no_answer", f"{way.address}: {reason(exc)}") from exc
    try:
        return await _search(args, way, prober)
    finally:
        prober.close()


def _prober(way: Way, by_echo: Callable[[Way], _Prober]) -> _Prober:
    try:
        return by_echo(way)
    except ProbeError:
        return _ByUdp(way)


async def _search(args: NetProbeArgs, way: Way, prober: _Prober) -> Found:
    ipv6 = way.family == socket.AF_INET6
    level = socket.IPPROTO_IPV6 if ipv6 else socket.IPPROTO_IP
    ask = _MTU6 if ipv6 else _MTU
    prober.socket.setsockopt(level, _DISCOVER6 if ipv6 else _DISCOVER, _DO)

    def known() -> int:
        # Of a new socket: one of IPv6 that is connected goes on with what it knew before.
        with _ByUdp(way).socket as fresh:
            return fresh.getsockopt(level, ask)

    interface = known()
    search = MtuSearch(min(interface, BIGGEST_BYTES), 6 if ipv6 else 4)
    unreachable = ""
    while (size := search.size) is not None and search.probes < PROBES_MOST:
        data = size - _HEADER_BYTES[socket.AddressFamily(way.family)] - prober.own_bytes
        try:
            became = await _became(prober, data, args.wait_s)
        except OSError as exc:
            unreachable = reason(exc)
            break
        if became == "arrived":
            search.arrived(size)
        elif became == "too big":
            search.too_big(size, known())
        else:
            search.vanished(size)
    found = {
        "mtu": search.passed or known(),
        "interface_mtu": interface,
        "confirmed": search.passed > 0,
        "black_hole": search.black_hole,
        "method": prober.method,
        "probes": search.probes,
    }
    word = {"sent": search.probes, "path_mtu": found}
    if not search.passed:
        why = unreachable or "nothing of any size was answered: it may answer no probes at all"
        raise ProbeError("no_answer", f"{way.address}: {why}", word)
    return word


async def _became(prober: _Prober, data: int, wait_s: float) -> str:
    """Lost once may be chance. Raises OSError where there is no way at all."""
    for _ in range(TRIES):
        try:
            async with asyncio.timeout(wait_s / TRIES):
                await prober.tried(data)
                return "arrived"
        except TimeoutError:
            continue
        except OSError as exc:
            if exc.errno == errno.EMSGSIZE:
                return "too big"
            raise
    return "vanished"
