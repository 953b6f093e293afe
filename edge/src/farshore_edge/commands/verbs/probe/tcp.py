"""The kind ``tcp``: how long a connection takes, several times over."""

import asyncio
import socket

from farshore_protocol.commands.catalogue import NetProbeArgs

from farshore_edge.commands.verbs.probe.model import Found, ProbeError, Way, attempts, clock_ms

COUNT = 3


async def probe(args: NetProbeArgs, way: Way) -> Found:
    port = args.port or 0

    async def once() -> float:
        began = clock_ms()
        with await connected(way, port):
            return clock_ms() - began

    made = await attempts(args.count or COUNT, args.interval_s, args.wait_s, once)
    if not made.took_ms:
        where = f"{way.address} port {port}"
        raise ProbeError("no_connection", f"{where}: {made.told()}", made.found())
    return made.found()


async def connected(way: Way, port: int) -> socket.socket:
    """Raises OSError."""
    ours = socket.socket(way.family, socket.SOCK_STREAM)
    try:
        ours.setblocking(False)
        await asyncio.get_running_loop().sock_connect(ours, (way.address, port))
    except BaseException:
        ours.close()
        raise
    return ours
