"""The brokers that every ``Link`` has to get along with.

A broker joins the conformance suite by a class with these methods and a line in ``BROKERS``:
the center's embedded broker and a NATS server are to be ``TcpBroker``s as Mosquitto is.
"""

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from farshore_protocol.clock import SystemClock
from farshore_protocol.link import BackoffSettings, Link
from farshore_protocol.link.memory import MemoryBus, MemoryLink
from farshore_protocol.link.mqtt import MqttLink, MqttSettings

QUICK = BackoffSettings(first_s=0.05, max_s=0.2)
START_S = 10.0


class Broker(Protocol):
    """What a test may do to a broker; a link to it is made before or after its start."""

    async def start(self) -> None: ...

    async def stop(self) -> None:
        """An orderly end; it may be started again, at the same address."""
        ...

    async def kill(self) -> None:
        """An end without a word to anyone."""
        ...

    def link(self) -> Link:
        """A new link, not yet running, that is quick to try again."""
        ...


class InMemory:
    """The in-memory bus."""

    def __init__(self, _folder: Path) -> None:
        self.bus = MemoryBus()
        self.bus.up = False

    async def start(self) -> None:
        self.bus.set_up(True)

    async def stop(self) -> None:
        self.bus.set_up(False)

    async def kill(self) -> None:
        self.bus.set_up(False)

    def link(self) -> Link:
        return MemoryLink(self.bus, clock=SystemClock(), rng=random.Random(1), backoff=QUICK)


class TcpBroker:
    """A broker at a port of this machine."""

    def __init__(self) -> None:
        self.port = free_port()

    def link(self) -> Link:
        return mqtt_link(self.port)


class Mosquitto(TcpBroker):
    """Debian's Mosquitto, a process of its own, with nothing but what the test gives it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._config = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
            "user root\nlog_type none\nmax_queued_messages 10000\n"
        )
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program, "mosquitto is missing: make system"
        # asyncio would watch the process by a thread of its own, and threads are counted here.
        self._process = subprocess.Popen([program, "-c", str(self._config)])  # noqa: ASYNC220 - it only forks
        await until_it_answers(self.port)

    async def stop(self) -> None:
        self._end(signal.SIGTERM)

    async def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)
            self._process.wait(START_S)
            self._process = None


BROKERS: Mapping[str, Callable[[Path], Broker]] = {"memory": InMemory, "mosquitto": Mosquitto}


def mqtt_link(port: int, *, host: str = "127.0.0.1", connect_timeout_s: float = 5.0) -> MqttLink:
    return MqttLink(
        MqttSettings(host=host, port=port, connect_timeout_s=connect_timeout_s, backoff=QUICK),
        clock=SystemClock(),
        rng=random.Random(1),
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until_it_answers(port: int) -> None:
    async with asyncio.timeout(START_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)  # a foreign process tells nobody that it listens
            else:
                writer.close()
                await writer.wait_closed()
                return
