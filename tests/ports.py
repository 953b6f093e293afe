"""Free ports of this machine for servers that tests start, and start again at the same one."""

import random
import socket

FIRST, LAST = 20_000, 32_767
"""Below the ports that Linux gives to connections that go out (32768 to 60999 where nobody set them
otherwise): such a one would sit on a port between two starts of its server."""

_drawn = random.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """On loopback, free now, and never given before by this process."""
    while True:
        port = _drawn.randint(FIRST, LAST)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def free_ports(count: int) -> list[int]:
    return [free_port() for _ in range(count)]
