"""``net-probe`` as a test asks for it, and servers that answer what they are told to."""

import asyncio
import contextlib
import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

from farshore_edge.commands.verbs import Context, Outcome
from farshore_edge.commands.verbs.probe import net_probe
from farshore_edge.targets import EVERYONE, Targets
from farshore_protocol.codec import convert
from farshore_protocol.commands import VERBS, Output

NOW_MS = 1_800_000_000_000
NOW = datetime.datetime.fromtimestamp(NOW_MS / 1000, datetime.UTC)


async def said(_chunk: Output) -> None:
    raise AssertionError("a probe writes no output")


async def probe(targets: Targets | None = None, tls: Any = None, **args: Any) -> Outcome:
    more = {} if tls is None else {"tls": tls}
    handler = net_probe(targets or Targets([EVERYONE]), lambda: NOW_MS, **more)
    context = Context(timeout_s=60, output_max_bytes=0, emit=said)
    outcome = await handler(convert(VERBS["net-probe"].args, args), context)
    convert(VERBS["net-probe"].result or dict, outcome.result)
    return outcome


def code(outcome: Outcome) -> str:
    assert outcome.error is not None, outcome
    return outcome.error.code


def result(outcome: Outcome) -> dict[str, Any]:
    assert outcome.result is not None, outcome
    return outcome.result


@contextlib.asynccontextmanager
async def serving(answer: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Answers the first line of whatever comes; the port."""

    open_ones: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here = asyncio.current_task()
        assert here is not None
        open_ones[here] = writer
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if answer:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
            else:
                await reader.read()  # never a word
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in open_ones.values():
            writer.transport.abort()
        if open_ones:
            await asyncio.wait(open_ones, timeout=10)
        await asyncio.sleep(0)  # asyncio closes what was cut in its next turn


def closed_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
