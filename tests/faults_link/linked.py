"""One real agent behind a proxy at a real center, and what the center has of it."""

import asyncio
import collections
import contextlib
import itertools
import sqlite3
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from farshore_edge.outbox.outbox import DIED
from farshore_sim.faults import TcpProxy
from system.programs import AgentProgram, CenterProgram, until

WITHIN_S = 60.0
KEPT = "stopped with unsent records"
"""What an agent says when it ends with records that the center has not acknowledged."""


class Linked:
    """``argv``: further flags of the agent."""

    def __init__(
        self, center: CenterProgram, folder: Path, name: str, argv: Sequence[str] = ()
    ) -> None:
        self.center = center
        self.name = name
        self.proxy = TcpProxy("127.0.0.1", center.mqtt_port)
        self.agent = AgentProgram(folder, name, 0)
        self.journal = folder / f"{name}.journal"
        self.given: dict[str, str] = {}
        self._more = argv
        self._lines = itertools.count()

    async def start(self, *, cut: bool = False) -> None:
        await self.proxy.start()
        if cut:
            await self.proxy.cut()
        place = self.agent.argv.index("--center") + 1
        self.agent.argv[place] = f"mqtt://127.0.0.1:{self.proxy.port}"
        self.agent.argv += self._more
        self.agent.start()

    async def at_work(self) -> None:
        await self.start()
        await self.more(2)

    def said(self, words: str) -> int:
        return self.agent.text().count(words)

    async def books(self) -> dict[str, dict[str, Any]]:
        found = await self.center.get(f"/nodes/{self.name}/streams")
        items = found["items"] if found else []
        return {item["stream"]: item for item in items if item["current"]}

    def stored(self) -> dict[int, int]:
        """The first instants of its batches at the center, by number in the order of their arrival; of those
        that the history has not taken yet."""
        uri = f"file:{self.center.data / 'center.db'}?mode=ro"
        rows = "select id, t0_ms from telemetry_batch where node = ? order by id"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            return dict(database.execute(rows, [self.name]).fetchall())

    async def accepted(self) -> int:
        book = (await self.books()).get("metrics")
        return book["accepted"] if book else 0

    async def more(self, records: int) -> None:
        before = await self.accepted()

        async def look() -> bool:
            return await self.accepted() >= before + records

        await until(look, f"{records} more records of {self.name}", WITHIN_S)

    async def ask(self, verb: str) -> dict[str, Any]:
        """The result of a verb that changes nothing."""
        made = await self.center.command(self.name, verb, ttl_s=60)
        view = await self.done(made["id"])
        result: dict[str, Any] = view["targets"][0]["result"]
        return result

    async def done(self, command_id: str) -> dict[str, Any]:
        async def look() -> Any:
            view = await self.center.get(f"/commands/{command_id}")
            return view if view and view["done"] else None

        view: dict[str, Any] = await until(look, f"the end of {command_id}", WITHIN_S)
        return view

    async def give(self, ttl_s: float = 60) -> str:
        """A command with an effect that can be counted: a line in the journal."""
        # A number of its own, also when nobody hears that the command was made.
        line = str(next(self._lines))
        script = f"open({str(self.journal)!r}, 'a').write('{line}\\n')"
        argv = {"argv": [sys.executable, "-S", "-c", script]}
        made = await self.center.command(self.name, "exec", argv, ttl_s=ttl_s)
        self.given[made["id"]] = line
        return str(made["id"])

    async def all_done(self, *, uninterrupted: bool = True) -> None:
        """Every command has an end, and its effect once; never twice even where it was cut off."""
        states: collections.Counter[str] = collections.Counter()
        counts: collections.Counter[str] = collections.Counter()
        views = [(line, await self.done(given)) for given, line in self.given.items()]
        if self.journal.exists():
            counts.update(self.journal.read_text().split())
        for line, view in views:
            state = view["targets"][0]["state"]
            states[state] += 1
            assert counts[line] <= 1, f"{self.name}: command {line} took effect twice"
            assert counts[line] == 1 or state != "succeeded", (self.name, line, state)
        allowed = {"succeeded"} if uninterrupted else {"succeeded", "interrupted"}
        assert set(states) <= allowed, (self.name, states)

    async def complete(self, *, killed: bool = False) -> None:
        """The agent ends, with everything acknowledged; what it gave out is accepted, once. Of a
        killed one, metrics that were in memory alone are declared lost."""
        heads = {name: word["head"] for name, word in (await self.ask("status"))["streams"].items()}
        said = self.said(KEPT)
        code = await asyncio.to_thread(self.agent.end)  # the proxy runs in this loop
        assert code == 0, self.agent.text()
        assert self.said(KEPT) == said, self.agent.text()
        books = await self.books()
        for stream, head in heads.items():
            if head == 0:
                continue
            book = books[stream]
            lost = book["lost_records"]
            assert book["accepted"] + lost == book["head"] >= head, (self.name, stream, book, head)
            assert book["holes"] == [], (self.name, stream, book)
            assert lost == 0 or (killed and stream == "metrics"), (self.name, stream, book)
            assert {line["reason"] for line in book["lost"]} <= {DIED}, (self.name, stream, book)
        assert heads["metrics"] > 2


@contextlib.asynccontextmanager
async def linked(
    center: CenterProgram, folder: Path, name: str, *argv: str
) -> AsyncIterator[Linked]:
    """At work; what is left of it is ended after the block."""
    node = Linked(center, folder, name, argv)
    try:
        yield node
    finally:
        if node.agent.process is not None:
            node.agent.kill()
        await node.proxy.stop()


async def together(**stories: Any) -> None:
    """All at once: most of the time of each is waiting."""
    ends = await asyncio.gather(*stories.values(), return_exceptions=True)
    failed = {name: end for name, end in zip(stories, ends, strict=True) if end is not None}
    if failed:
        raise ExceptionGroup(
            ", ".join(failed), [e for e in failed.values() if isinstance(e, Exception)]
        )
