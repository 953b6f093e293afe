"""A node, played by a raw client, that keeps the contract of ``desired/config``: it answers each."""

import asyncio
import contextlib
import json
from typing import Any

from center.running import BOOT, PahoNode, now_ms, until
from farshore_protocol.codec import decode
from farshore_protocol.config.digest import digest
from farshore_protocol.config.messages import MAX_CONFIG_BYTES, DesiredConfig
from farshore_protocol.telemetry import inflate


def read(payload: bytes) -> DesiredConfig:
    return decode(DesiredConfig, inflate(payload), limit_bytes=MAX_CONFIG_BYTES + 100_000)


class ConfigNode:
    """``answer``: what it reports of what it was sent; None keeps it silent."""

    def __init__(self, node: PahoNode) -> None:
        self.node = node
        self.rev = 0
        self.config: dict[str, Any] = {}
        self.seq = 0
        self.kept: dict[int, Any] = {}
        self.seen = 0
        self.more: dict[str, Any] = {}
        self.state: str | None = "applied"
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.node.name

    def got(self) -> list[DesiredConfig]:
        """Every desired that came."""
        topic = f"fs1/down/{self.name}/desired/config"
        return [read(payload) for at, payload in list(self.node.answers) if at == topic]

    async def birth(self, conn: int = 1, **more: Any) -> None:
        given = {
            "conn": conn,
            "revisions": {"config": self.rev},
            "digests": {"config": digest(self.config)},
            "streams": {"reports": {"epoch": "rep0", "head": self.seq}},
        }
        await self.node.birth(**given | more)

    async def report(self, **more: Any) -> None:
        self.seq += 1
        body = {
            "epoch": "rep0",
            "seq": self.seq,
            "boot": BOOT,
            "up_ms": 10,
            "ts": now_ms(),
            "rev": self.rev,
            "digest": digest(self.config),
            "state": "applied",
            "running": digest(self.config),
            "running_rev": self.rev,
            "effective": digest(self.config),
        }
        self.kept[self.seq] = body | more
        # Without a connection, or without the PUBACK of a center that died: it is kept.
        with contextlib.suppress(RuntimeError):
            await self.node.send("rep/config", body | more)

    async def join(self, node: PahoNode, conn: int, **more: Any) -> None:
        """On a new connection: what was not acknowledged is sent again, as an outbox does."""
        await self.stop()
        for seq in [seq for seq in self.kept if self.node.acknowledged("reports", seq)]:
            del self.kept[seq]
        self.node, self.seen = node, 0
        self.start()
        await self.birth(conn=conn, **more)
        for body in list(self.kept.values()):
            await node.publish("rep/config", body)

    async def answer(self, desired: DesiredConfig) -> None:
        assert digest(desired.config) == desired.digest
        if desired.rev < self.rev and desired.digest != digest(self.config):
            await self.report()
            return
        if self.state == "applied":
            self.rev, self.config = desired.rev, desired.config
        if self.state is not None:
            await self.report(rev=desired.rev, digest=desired.digest, state=self.state, **self.more)

    def start(self) -> "ConfigNode":
        self._task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        while True:
            found = self.got()
            for desired in found[self.seen :]:
                self.seen += 1
                await self.answer(desired)
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def until_sent(self, count: int) -> DesiredConfig:
        await until(lambda: len(self.got()) >= count, f"desired configuration {count}")
        return self.got()[count - 1]


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()
