"""A service of commands with verbs that the test controls."""

import asyncio
from typing import Any

import orjson
from edge.edge_bench import FailingDatabase, eventually, seeded_ids, timing
from farshore_edge.commands import CommandService, Policy
from farshore_edge.commands.ledger import Ledger
from farshore_edge.commands.verbs import Context, Handler, Outcome
from farshore_edge.outbox import Outbox
from farshore_protocol.clock import ManualClock
from farshore_protocol.codec import MAX_MESSAGE_BYTES, decode
from farshore_protocol.commands import CommandReport
from farshore_protocol.stream import Sender

EXEC = {"argv": ["true"]}


class Bench:
    """A service with verbs that the test controls; ``exec`` is one of them, no program runs."""

    def __init__(self, disk: FailingDatabase | None = None, *, at_once: int = 8) -> None:
        self.clock = ManualClock()
        self.disk = disk or FailingDatabase()
        self.runs: list[Any] = []
        self.may_end = asyncio.Event()
        self.outbox = Outbox(
            self.disk,
            Sender(),
            now=lambda: timing(self.clock),
            max_bytes=2**20,
            woken=lambda: None,
            retry_s=0.01,
        )
        self.handlers: dict[str, Handler] = {"ping": self._ping, "exec": self._exec}
        self.service = CommandService(
            Ledger(self.disk, self.outbox),
            self.handlers,
            policy=Policy.development(),
            ids=seeded_ids(),
            now_ms=self.clock.now_ms,
            monotonic_s=self.clock.monotonic_s,
            center_ms=lambda: None,
            at_once=at_once,
            output_max_bytes=2**20,
        )

    async def _ping(self, args: Any, _context: Context) -> Outcome:
        self.runs.append(args)
        return Outcome(result={"pong": True})

    async def _exec(self, args: Any, _context: Context) -> Outcome:
        self.runs.append(args)
        await self.may_end.wait()
        return Outcome(result={"exit_code": 0})

    def take(self, verb: str, word: Any = None, **fields: Any) -> None:
        payload = word if isinstance(word, bytes) else orjson.dumps(fields)
        self.service.take(verb, payload)

    async def idle(self) -> None:
        await eventually(lambda: not self.service.running())

    def reports(self, command_id: str | None = None) -> list[CommandReport]:
        records = self.disk.inner.records("results", range(1, 10_000))
        found = [decode(CommandReport, r.payload) for _, r in sorted(records.items())]
        for record in records.values():
            assert len(record.payload) <= MAX_MESSAGE_BYTES
        return [r for r in found if command_id in (None, r.id)]

    def way(self, command_id: str) -> list[str]:
        """All states that were told, those in passing included."""
        return [
            state
            for report in self.reports(command_id)
            for state in (*(via for via, _ in report.via), report.state)
        ]
