"""The brokers that every ``Link`` has to get along with.

A broker joins the conformance suite by a class with these methods and a line in ``BROKERS``.
Mosquitto and NATS run with the configurations that ``farshore-center broker-config`` prints.
"""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from farshore_center.broker import BrokerSettings, DevGate, EmbeddedBroker, Publication
from farshore_center.broker.render import (
    MosquittoSite,
    NatsSite,
    mosquitto_acl,
    mosquitto_conf,
    nats_conf,
)
from farshore_protocol.clock import SystemClock
from farshore_protocol.link import BackoffSettings, Link
from farshore_protocol.link.memory import MemoryBus, MemoryLink
from farshore_protocol.link.mqtt import MqttLink, MqttSettings
from ports import free_port

QUICK = BackoffSettings(first_s=0.05, max_s=0.2)
START_S = 10.0


class Broker(Protocol):
    """What a test may do to a broker; a link to it is made before or after its start.

    The flags name what brokers do differently, and Farshore does not need.
    """

    orders_across_filters: bool
    """Messages of one sender keep their order even where a client gets them by several filters."""
    will_at_take_over: bool
    """A connection that another one of the same client id ends has its will published."""

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

    orders_across_filters = True
    will_at_take_over = True

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

    orders_across_filters = True
    will_at_take_over = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()

    def link(self) -> Link:
        return mqtt_link(self.port)


class Embedded(TcpBroker):
    """The center's own broker, in this process. What it holds ends with it, as with the center."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._broker: EmbeddedBroker | None = None

    async def start(self) -> None:
        self._broker = EmbeddedBroker(
            BrokerSettings(port=self.port),
            gate=DevGate(),
            ingest=_taken,
            rejected=lambda *_: None,
        )
        await self._broker.start()

    async def stop(self) -> None:
        if self._broker is not None:
            await self._broker.stop()
            self._broker = None

    async def kill(self) -> None:
        """Its stop is one without a word: connections are closed, and no will is published."""
        await self.stop()


async def _taken(_publication: Publication) -> None:
    """The center's ingest, which takes everything."""


class Program(TcpBroker):
    """A broker that is a process of its own, with nothing but what ``prepare`` gives it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> list[str]:
        """Writes the configuration; the command line."""
        raise NotImplementedError

    async def start(self) -> None:
        command = self.prepare()
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "broker.log").open("ab") as log:
            # asyncio would watch the process by a thread of its own, and threads are counted here.
            self._process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: ASYNC220 - it only forks
        await until_it_answers(self.port)

    async def stop(self) -> None:
        self._end(signal.SIGTERM)

    async def kill(self) -> None:
        self._end(signal.SIGKILL)

    def wipe(self) -> None:
        """Everything that a broker that has ended kept on disk is gone."""
        shutil.rmtree(self.folder)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)
            self._process.wait(START_S)
            self._process = None


class Mosquitto(Program):
    """Debian's Mosquitto. ``port`` is the center's listener, ``nodes_port`` the nodes'."""

    def __init__(self, folder: Path, change: Callable[[str], str] = lambda conf: conf) -> None:
        """``change``: what is done to the rendered configuration: a broker that is set up wrongly."""
        super().__init__(folder)
        self.nodes_port = free_port()
        self.change = change

    def prepare(self) -> list[str]:
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program, "mosquitto is missing: make system"
        self.folder.mkdir(parents=True, exist_ok=True)
        site = MosquittoSite(
            nodes_port=self.nodes_port,
            center_port=self.port,
            data=str(self.folder),
            # Debian's own user can't read a folder of the tests.
            user="root" if os.getuid() == 0 else None,
        )
        (self.folder / "mosquitto.acl").write_text(mosquitto_acl(site))
        config = self.folder / "mosquitto.conf"
        config.write_text(self.change(mosquitto_conf(site)))
        return [program, "-c", str(config)]


class Nats(Program):
    """nats-server with JetStream and its MQTT listener."""

    will_at_take_over = False
    orders_across_filters = False  # a JetStream consumer for each filter, each at its own pace

    def prepare(self) -> list[str]:
        program = shutil.which(
            "nats-server", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        )
        assert program, "nats-server is missing: make setup"
        self.folder.mkdir(parents=True, exist_ok=True)
        site = NatsSite(mqtt_port=self.port, native_port=free_port(), data=str(self.folder))
        config = self.folder / "nats-server.conf"
        config.write_text(nats_conf(site))
        return [program, "-c", str(config)]


BROKERS: Mapping[str, Callable[[Path], Broker]] = {
    "memory": InMemory,
    "embedded": Embedded,
    "mosquitto": Mosquitto,
    "nats": Nats,
}


def mqtt_link(port: int, *, host: str = "127.0.0.1", connect_timeout_s: float = 5.0) -> MqttLink:
    return MqttLink(
        MqttSettings(host=host, port=port, connect_timeout_s=connect_timeout_s, backoff=QUICK),
        clock=SystemClock(),
        rng=random.Random(1),
    )


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
