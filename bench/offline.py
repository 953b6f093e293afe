"""How large the agent's folder becomes in a day without a link, at the default pace of samples.

A day of 80 plausible series on virtual time: two samples make a record every ten seconds. The files
are counted as they lie while the agent runs, write-ahead log included.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from farshore_edge.database import SqliteDatabase
from farshore_edge.outbox import Outbox, Timing
from farshore_edge.settings import Settings
from farshore_protocol.ids import Ids, system_rng
from farshore_protocol.stream import Sender

from bench.errors import BenchError
from bench.samples import T0_MS, columns

DAY_S = 86_400
TOGETHER = 64
"""Records that share a sync: a day must not take as many syncs as it does in truth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """``payload``: bytes of the records, ``disk``: of all files."""

    records: int
    payload: int
    disk: int


def _bodies(settings: Settings) -> Iterator[dict[str, Any]]:
    count = int(DAY_S / settings.sample_interval_s)
    each = int(settings.batch_s / settings.sample_interval_s)
    made = {
        name: values.tolist() for name, values in columns(np.random.default_rng(1), count).items()
    }
    offsets = [int(n * settings.sample_interval_s * 1000) for n in range(each)]
    for start in range(0, count, each):
        yield {
            "dt": offsets,
            "m": {name: values[start : start + each] for name, values in made.items()},
        }


async def offline(folder: Path, max_bytes: int | None = None) -> Offline:
    """Raises BenchError when records were thinned to fit: their size would say nothing."""
    settings = Settings(node="bench", data=str(folder))
    now_ms = 0

    def timing() -> Timing:
        return Timing(boot="benchbox", up_ms=now_ms, ts=T0_MS + now_ms, synced=True)

    database = SqliteDatabase(folder / "agent.db", Ids(system_rng()))
    outbox = Outbox(
        database,
        Sender(),
        now=timing,
        max_bytes=max_bytes or settings.outbox_max_bytes,
        woken=lambda: None,
        quotas=settings.quotas,
    )
    made, together = 0, []
    for body in _bodies(settings):
        at = timing()
        together.append(outbox.append("metrics", "tel/host", body, timing=at))
        now_ms += int(settings.batch_s * 1000)
        made += 1
        if len(together) == TOGETHER:
            await asyncio.gather(*together)
            together.clear()
    await asyncio.gather(*together)
    disk = await asyncio.to_thread(_bytes, folder)
    queue = outbox.queues()["metrics"]
    await outbox.close()
    await database.close()
    if queue.records != made:
        raise BenchError(f"{made - queue.records} of {made} records had to give way")
    return Offline(records=made, payload=queue.bytes, disk=disk)


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
