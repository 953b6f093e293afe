"""An outbox on a disk that counts its commits, and a link that a test moves."""

from typing import Any

import orjson
from edge.edge_bench import FailingDatabase, seeded_ids, timing
from farshore_edge.database import Change
from farshore_edge.outbox import Outbox
from farshore_protocol.clock import ManualClock
from farshore_protocol.stream import Sender
from farshore_protocol.telemetry import inflate

BATCH: dict[str, Any] = {"dt": [0], "m": {"cpu.percent": [1.5]}}


class Bench:
    """An outbox on a disk that counts its commits."""

    def __init__(self, database: Any, **options: Any) -> None:
        self.clock = ManualClock()
        self.disk = database
        self.sender = Sender()
        settings = {"max_bytes": 2**30, "retry_s": 0.01, "draw_epoch": seeded_ids(9).epoch}
        self.outbox = Outbox(
            database,
            self.sender,
            now=lambda: timing(self.clock),
            woken=lambda: None,
            **{**settings, **options},
        )

    def link(self, *, good: bool) -> None:
        if good:
            self.sender.link_up()
        else:
            self.sender.link_down()
        self.outbox.link_is(good=good)

    async def metric(self, body: dict[str, Any] = BATCH) -> int:
        return await self.outbox.append("metrics", "tel/host", body)

    async def ack(self, first: int, last: int, stream: str = "metrics") -> None:
        epoch = self.outbox.heads()[stream].epoch
        await self.outbox.acknowledged(stream, epoch, [(first, last)])

    def on_disk(self) -> list[int]:
        return [s for a, b in self.disk.streams()["metrics"].kept for s in range(a, b + 1)]

    def losses(self) -> list[tuple[str, int, int, str]]:
        return [(x.stream, x.first, x.last, x.reason) for x in self.disk.losses()]

    def events(self, path: str) -> list[dict[str, Any]]:
        records = self.disk.records("events", range(1, 100_000))
        return [
            orjson.loads(inflate(r.payload))["data"] for r in records.values() if r.path == path
        ]


class CountingDatabase(FailingDatabase):
    def __init__(self, inner: Any = None) -> None:
        super().__init__(inner)
        self.commits = 0

    async def commit(self, change: Change) -> Any:
        self.commits += 1
        return await super().commit(change)
