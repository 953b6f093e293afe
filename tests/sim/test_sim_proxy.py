"""The proxy: byte-exact both ways, cut resets and refuses, heal works on the same port, no leaks."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psutil
import pytest
from farshore_sim.faults import TcpProxy
from sim.started import DEADLINE_S, when

MEGABYTE = random.Random(7).randbytes(1_000_000)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def proxied(serve: Serve = echo) -> AsyncIterator[TcpProxy]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy = TcpProxy("127.0.0.1", server.sockets[0].getsockname()[1])
    await proxy.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield proxy
    finally:
        await proxy.stop()
        server.close()


async def connect(proxy: TcpProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def round_trip(proxy: TcpProxy, data: bytes) -> bytes:
    reader, writer = await connect(proxy)
    writer.write(data)
    answer = await reader.readexactly(len(data))
    writer.close()
    await writer.wait_closed()
    return answer


async def closed(proxy: TcpProxy) -> None:
    await when(lambda: proxy.connections == 0, "the proxy to let go of every connection")


async def test_a_megabyte_goes_both_ways_byte_for_byte() -> None:
    async with proxied() as proxy:
        reader, writer = await connect(proxy)
        sending = asyncio.create_task(_send(writer, MEGABYTE))
        assert await reader.readexactly(len(MEGABYTE)) == MEGABYTE
        await sending
        assert proxy.connections == 1
        writer.close()
        await closed(proxy)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def test_an_end_that_is_half_closed_still_gets_the_whole_answer() -> None:
    async def answer_after_the_end(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        question = await reader.read()
        writer.write(question[::-1])
        await writer.drain()
        writer.close()

    async with proxied(answer_after_the_end) as proxy:
        reader, writer = await connect(proxy)
        writer.write(MEGABYTE)
        writer.write_eof()
        assert await reader.read() == MEGABYTE[::-1]
        writer.close()
        await closed(proxy)


async def test_a_target_that_ends_ends_the_connection_after_its_last_byte() -> None:
    async def say_and_go(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(MEGABYTE)
        await writer.drain()
        writer.close()

    async with proxied(say_and_go) as proxy:
        reader, writer = await connect(proxy)
        assert await reader.read() == MEGABYTE
        writer.close()
        await closed(proxy)


async def test_cut_resets_what_is_open_and_refuses_what_comes() -> None:
    async with proxied() as proxy:
        reader, writer = await connect(proxy)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        await proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        with pytest.raises(ConnectionRefusedError):
            await connect(proxy)
        writer.close()
        assert proxy.connections == 0


async def test_nobody_can_take_the_port_while_the_link_is_cut() -> None:
    async with proxied() as proxy:
        await proxy.cut()
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", proxy.port))
        await proxy.heal()
        assert await round_trip(proxy, b"back") == b"back"


async def test_it_is_cut_and_healed_many_times_and_leaves_nothing_behind() -> None:
    async with proxied() as proxy:
        await round_trip(proxy, b"warm")
        await closed(proxy)
        port, tasks, files = proxy.port, len(asyncio.all_tasks()), psutil.Process().num_fds()
        for number in range(30):
            clients = [await connect(proxy) for _ in range(3)]
            if number % 2:  # half of the time while it still dials the target
                assert await round_trip(proxy, b"here") == b"here"
            await proxy.cut()
            for _, writer in clients:
                writer.transport.abort()
            await proxy.heal()
            assert proxy.port == port
        assert await round_trip(proxy, MEGABYTE) == MEGABYTE
        await closed(proxy)
        await when(
            lambda: len(asyncio.all_tasks()) <= tasks and psutil.Process().num_fds() <= files,
            "the far ends to notice",
        )


async def test_stop_and_heal_may_be_said_again() -> None:
    async with proxied() as proxy:
        await proxy.heal()
        await proxy.heal()
        assert await round_trip(proxy, b"one") == b"one"
        await proxy.stop()
        await proxy.stop()
        with pytest.raises(ConnectionRefusedError):
            await connect(proxy)


async def test_a_target_that_can_not_be_reached_is_a_connection_that_ends() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, not listening: refused
        proxy = TcpProxy("127.0.0.1", nobody.getsockname()[1])
        await proxy.start()
        try:
            async with asyncio.timeout(DEADLINE_S):
                reader, writer = await connect(proxy)
                with pytest.raises(ConnectionResetError):
                    await reader.readexactly(1)
                writer.close()
                await closed(proxy)
        finally:
            await proxy.stop()


async def test_a_cut_does_not_wait_for_a_target_that_never_answers() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = []
        for _ in range(4):  # a full accept queue drops SYNs: dialling hangs
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fillers.append(filler)
        proxy = TcpProxy(*address)
        await proxy.start()
        async with asyncio.timeout(DEADLINE_S):
            _, writer = await connect(proxy)
            await when(lambda: proxy.connections == 1, "it to dial")
            await proxy.stop()
            assert proxy.connections == 0
            writer.close()
        for filler in fillers:
            filler.close()
