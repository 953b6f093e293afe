"""MQTT over asyncio: connects, and connects again, without a thread per client.

What it does not do: keep messages across connections; the streams do that.
"""

import asyncio
import logging
import random

from farshore_protocol.clock import Clock
from farshore_protocol.link.backoff import Backoff
from farshore_protocol.link.connection import Connection, MqttSettings
from farshore_protocol.link.model import LinkHandler, Message, tell

__all__ = ["MqttLink", "MqttSettings"]

log = logging.getLogger(__name__)


class MqttLink:
    """A ``Link`` to an MQTT broker over TCP."""

    def __init__(self, settings: MqttSettings, *, clock: Clock, rng: random.Random) -> None:
        self._settings = settings
        self._clock = clock
        self._backoff = Backoff(settings.backoff, rng)
        self._connection: Connection | None = None
        self._closing = asyncio.Event()
        self._finished = asyncio.Event()
        self._running = False

    @property
    def connected(self) -> bool:
        return self._connection is not None and self._connection.up

    async def run(self, handler: LinkHandler) -> None:
        self._running = True
        conn = 0
        try:
            while not self._closing.is_set():
                conn += 1
                wait_s = await self._serve_once(handler, conn)
                if not self._closing.is_set():
                    await self._pause(wait_s)
        finally:
            self._finished.set()

    async def _serve_once(self, handler: LinkHandler, conn: int) -> float:
        """One connection; how many seconds to wait before the next attempt."""
        connection = Connection(self._settings, handler.session(conn), handler, self._clock, conn)
        self._connection = connection
        reason = "cancelled"
        try:
            reason = await connection.serve()
        finally:
            self._connection = None
            if connection.was_up:
                tell(handler.link_down, conn, reason)
        up_s = connection.up_s()
        wait_s = self._backoff.failed(up_s=up_s, reached=connection.reached)
        if not self._closing.is_set():
            log.info(
                "the link is down", extra={"reason": reason, "up_s": up_s, "retry_in_s": wait_s}
            )
        return wait_s

    async def _pause(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._closing.wait()
        except TimeoutError:
            return

    def publish(self, message: Message) -> bool:
        connection = self._connection
        return connection is not None and connection.up and connection.publish(message)

    @property
    def congested(self) -> bool:
        connection = self._connection
        return connection is not None and connection.congested

    async def close(self, farewell: Message | None = None) -> None:
        self._closing.set()
        connection = self._connection
        if connection is not None:
            await connection.leave(farewell)
        if self._running:
            await self._finished.wait()

    def reconnect(self, reason: str) -> None:
        if self._connection is not None:
            self._connection.end(reason)
