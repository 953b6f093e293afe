"""A TCP connection without blocking the event loop: the first address that answers.

It returns a plain socket, because that is what paho takes over. TLS is not done here.
"""

import asyncio
import socket
from ipaddress import ip_address

_Address = tuple[int, tuple[str | int | bytes, ...]]


async def dial(host: str, port: int) -> socket.socket:
    """A connected, non-blocking socket; OSError of the last address that was tried."""
    failure = OSError(f"{host}: no address")
    for family, address in await _addresses(host, port):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as exc:
            sock.close()
            failure = exc
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


async def _addresses(host: str, port: int) -> list[_Address]:
    """A literal address needs no resolver, and so none of the event loop's threads."""
    try:
        literal = ip_address(host)
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(family, address) for family, _, _, _, address in found]
    if literal.version == 4:
        return [(socket.AF_INET, (host, port))]
    return [(socket.AF_INET6, (host, port, 0, 0))]
