"""Ports of loopback that stay ours while nobody listens on them.

A socket that is bound and never listens refuses every connection, as a closed port does, and keeps
others from taking the port; whoever is meant to listen there binds beside it with ``SO_REUSEADDR``,
as servers do. This is how Linux does it; other systems may refuse the second binding.
"""

import socket

LOOPBACK = "127.0.0.1"


def hold(port: int, host: str = LOOPBACK) -> socket.socket:
    """Holds the port, 0 for any free one, until it is closed. Raises OSError where it is taken."""
    held = socket.socket()
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, port))
    except OSError:
        held.close()
        raise
    return held


def number(held: socket.socket) -> int:
    return int(held.getsockname()[1])
