"""A real broker on a free port."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from broker.workbench import Bench, MakeBench
from farshore_center.broker import BrokerSettings, EmbeddedBroker


@pytest.fixture
async def make_bench() -> AsyncIterator[MakeBench]:
    async with AsyncExitStack() as stack:

        async def make(**settings: Any) -> Bench:
            # The broker needs its gate at birth, and the gate is the bench.
            bench = Bench(broker=None)  # type: ignore[arg-type]
            bench.broker = EmbeddedBroker(
                BrokerSettings(port=0, stop_timeout_s=1.0, **settings),
                gate=bench,
                ingest=bench.ingest,
                rejected=bench.note,
            )
            await bench.broker.start()
            stack.push_async_callback(_end, bench)
            return bench

        yield make


async def _end(bench: Bench) -> None:
    await bench.broker.stop()
    for client in bench.opened:
        client.cut()
        with suppress(ConnectionError):
            await client.writer.wait_closed()


@pytest.fixture
async def bench(make_bench: MakeBench) -> Bench:
    return await make_bench()
