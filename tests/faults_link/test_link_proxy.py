"""Each fault over real sockets: what passes, what does not, and what comes after it."""

import asyncio
import functools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from farshore_sim.faults import Reception, TcpProxy
from farshore_sim.faults.link_faults import (
    Delay,
    Direction,
    HalfOpen,
    Stall,
    Tear,
    Throttle,
    TornCut,
)
from system.programs import until

DEADLINE_S = 60
UP, DOWN = Direction.UP, Direction.DOWN
BYTES = random.Random(3).randbytes(300_000)


class Server:
    """Keeps what it is told on each connection; answers with it, if it is to."""

    def __init__(self) -> None:
        self.heard: list[bytearray] = []
        self.ends: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.answers = True
        self.reads = asyncio.Event()
        self.reads.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = bytearray()
        self.heard.append(heard)
        self.writers.append(writer)
        try:
            await self.reads.wait()
            while data := await reader.read(65_536):
                heard += data
                if self.answers:
                    writer.write(data)
                    await writer.drain()
            self.ends.append("end")
        except OSError:
            self.ends.append("reset")
        finally:
            writer.close()


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[TcpProxy, Server]]:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    proxy = TcpProxy("127.0.0.1", listening.sockets[0].getsockname()[1])
    await proxy.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield proxy, server
    finally:
        await proxy.stop()
        for writer in server.writers:
            writer.transport.abort()
        listening.close()


@asynccontextmanager
async def connected(
    proxy: TcpProxy,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def echo(
    ends: tuple[asyncio.StreamReader, asyncio.StreamWriter], data: bytes = b"here"
) -> None:
    reader, writer = ends
    writer.write(data)
    assert await reader.readexactly(len(data)) == data


def heard(server: Server, count: int) -> bool:
    return len(server.heard[0]) == count


async def nothing_within(work: Callable[[], Awaitable[object]], seconds: float) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await work()


@pytest.mark.parametrize("direction", [UP, DOWN], ids=str)
async def test_half_open_swallows_one_direction_and_resets_when_it_is_over(
    direction: Direction,
) -> None:
    async with proxied() as (proxy, server), connected(proxy) as ends, connected(proxy) as other:
        await echo(ends)
        await echo(other)
        with proxy.faulty(HalfOpen(), direction=direction):
            ends[1].write(b"lost")
            if direction is DOWN:
                await until(lambda: server.heard[0] == b"herelost", "the way up")
            else:
                server.writers[0].write(b"still")
                assert await ends[0].readexactly(5) == b"still"
                assert server.heard[0] == b"here"
            await nothing_within(lambda: ends[0].read(1), 0.1)
        with pytest.raises(ConnectionResetError):
            await ends[0].read(1)
        await echo(other)  # it lost nothing, and lives


async def test_nobody_hears_of_an_end_behind_a_half_open_link() -> None:
    async with proxied() as (proxy, server):
        async with connected(proxy) as ends:
            await echo(ends)
            proxy.put(HalfOpen(), UP)
        server.writers[0].write(b"are you there?" * 1000)  # to an end that was reset
        await server.writers[0].drain()
        await asyncio.sleep(0.2)  # there is no event for what must not happen
        assert server.ends == []
        assert proxy.connections == 1
        proxy.take(HalfOpen)
        await until(lambda: server.ends == ["reset"], "the end")
        await until(lambda: proxy.connections == 0, "the proxy to let go")


async def test_new_connections_at_a_half_open_link_reach_nobody() -> None:
    async with proxied() as (proxy, server):
        proxy.put(HalfOpen())
        async with connected(proxy) as ends:
            ends[1].write(b"x" * 100_000)
            await ends[1].drain()
            await nothing_within(lambda: ends[0].read(1), 0.1)
            assert b"".join(server.heard) == b""


async def test_a_stall_keeps_everything_in_order_and_the_sender_waits() -> None:
    async with proxied() as (proxy, server), connected(proxy) as ends:
        await echo(ends)
        server.answers = False
        data = random.Random(1).randbytes(30_000_000)
        with proxy.faulty(Stall()):
            ends[1].write(data)
            await nothing_within(ends[1].drain, 0.3)
            assert server.heard[0] == b"here"
            assert 0 < proxy.held_bytes < 200_000
            unsent = ends[1].transport.get_write_buffer_size()
            assert unsent > len(data) - 12_000_000, "the rest is with the sender"
        await until(lambda: len(server.heard[0]) == len(data) + 4, "all of it")
        assert server.heard[0][4:] == data
        server.answers = True
        await echo(ends)


async def test_a_reader_that_does_not_read_makes_the_sender_wait() -> None:
    async with proxied() as (proxy, server):
        server.reads.clear()
        async with connected(proxy) as ends:
            data = bytes(30_000_000)
            ends[1].write(data)
            await nothing_within(ends[1].drain, 0.3)
            assert proxy.held_bytes < 200_000
            assert ends[1].transport.get_write_buffer_size() > 0


async def test_an_end_within_a_stall_is_told_after_it() -> None:
    async with proxied() as (proxy, server):
        async with connected(proxy) as ends:
            await echo(ends)
            proxy.put(Stall(), UP)
            ends[1].write(b" last")
            ends[1].write_eof()
            await nothing_within(lambda: ends[0].read(1), 0.1)
            proxy.take(Stall)
            assert await ends[0].read() == b" last"
        assert bytes(server.heard[0]) == b"here last"
        assert server.ends == ["end"]


async def test_a_throttle_passes_as_many_bytes_as_it_says() -> None:
    async with proxied() as (proxy, _), connected(proxy) as ends:
        proxy.put(Throttle(bytes_per_s=100_000, burst_bytes=2_000), UP)
        began_s = time.monotonic()
        await echo(ends, BYTES[:52_000])
        assert 0.45 < time.monotonic() - began_s < 1.5
        proxy.take(Throttle)
        began_s = time.monotonic()
        await echo(ends, BYTES)
        assert time.monotonic() - began_s < 1.0


async def test_removing_a_throttle_frees_who_waits_for_it() -> None:
    async with proxied() as (proxy, server), connected(proxy) as ends:
        proxy.put(Throttle(bytes_per_s=1, burst_bytes=1))
        ends[1].write(BYTES)
        await until(lambda: server.heard and server.heard[0], "the first byte")
        proxy.clear()
        assert await ends[0].readexactly(len(BYTES)) == BYTES


async def test_a_delay_is_felt_in_its_direction_and_keeps_the_order() -> None:
    async with proxied() as (proxy, server), connected(proxy) as ends:
        await echo(ends)
        proxy.put(Delay(fixed_s=0.2, jitter_s=0.1), DOWN)
        began_s = time.monotonic()
        for number in range(20):
            ends[1].write(b"%02d" % number)
            await until(functools.partial(heard, server, 6 + 2 * number), "it, at once", 5)
        heard_s = time.monotonic() - began_s
        assert await ends[0].readexactly(40) == b"".join(b"%02d" % n for n in range(20))
        assert time.monotonic() - began_s >= heard_s + 0.04
        assert time.monotonic() - began_s >= 0.1


async def test_tearing_changes_no_byte_and_comes_in_tiny_pieces() -> None:
    async with proxied() as (proxy, _), connected(proxy) as ends:
        proxy.put(Tear(most_bytes=3, pause_s=0.001), DOWN)
        ends[1].write(BYTES[:200])
        pieces = [await ends[0].read(1_000)]
        while sum(map(len, pieces)) < 200:
            pieces.append(await ends[0].read(1_000))
        assert b"".join(pieces) == BYTES[:200]
        assert len(pieces) > 20


async def test_all_faults_together_change_no_byte() -> None:
    async with proxied() as (proxy, _), connected(proxy) as ends:
        proxy.put(Delay(fixed_s=0.01, jitter_s=0.01))
        proxy.put(Tear(most_bytes=2_000, pause_s=0.0001))
        proxy.put(Throttle(bytes_per_s=2_000_000))
        reading = asyncio.create_task(ends[0].readexactly(len(BYTES)))
        ends[1].write(BYTES)
        for _ in range(5):
            with proxy.faulty(Stall(), direction=UP):
                await asyncio.sleep(0.02)  # the length of the stall
            await asyncio.sleep(0.02)
        assert await reading == BYTES


@pytest.mark.parametrize("after", [0, 1, 777])
async def test_a_torn_cut_delivers_so_many_bytes_and_resets_once(after: int) -> None:
    async with proxied() as (proxy, server):
        server.answers = False
        async with connected(proxy) as ends:
            proxy.put(TornCut(after_bytes=after), UP)
            ends[1].write(BYTES[:1_000])
            with pytest.raises(ConnectionResetError):
                await ends[0].read(1)
            await until(lambda: server.ends == ["reset"], "the other end's reset")
            assert server.heard[0] == BYTES[:after]
            assert proxy.shape(UP).torn_cut is None
        server.answers = True
        async with connected(proxy) as ends:
            await echo(ends, BYTES)


async def test_refusing_leaves_open_connections_alone() -> None:
    async with proxied() as (proxy, _), connected(proxy) as ends:
        await echo(ends)
        await proxy.receive(Reception.REFUSE)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        await echo(ends)
        await proxy.receive(Reception.FORWARD)
        async with connected(proxy) as again:
            await echo(again)


async def test_silence_accepts_and_says_nothing_until_it_is_over() -> None:
    async with proxied() as (proxy, server), connected(proxy) as old:
        await echo(old)
        await proxy.receive(Reception.SILENT)
        async with connected(proxy) as ends:
            ends[1].write(BYTES)
            await ends[1].drain()
            await nothing_within(lambda: ends[0].read(1), 0.1)
            assert len(server.heard) == 1, "the server knows of nothing"
            await echo(old)
            await proxy.receive(Reception.FORWARD)
            with pytest.raises(ConnectionResetError):
                await ends[0].read(1)


async def test_a_cut_ends_faulty_connections_too() -> None:
    async with proxied() as (proxy, _), connected(proxy) as ends:
        await echo(ends)
        proxy.put(Stall())
        ends[1].write(BYTES)
        await until(lambda: proxy.held_bytes, "bytes in the stall")
        await proxy.receive(Reception.SILENT)
        async with connected(proxy) as mute:
            await proxy.cut()
            for reader, _ in (ends, mute):
                with pytest.raises(ConnectionResetError):
                    await reader.read(1)
        assert (proxy.connections, proxy.held_bytes) == (0, 0)
        proxy.clear()
        await proxy.receive(Reception.FORWARD)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        await proxy.heal()
        async with connected(proxy) as again:
            await echo(again)
