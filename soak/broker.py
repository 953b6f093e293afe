"""The kinds of broker, as processes that can be killed with everything that they kept.

Mosquitto and NATS run with the configurations that ``farshore-center broker-config`` prints. The
embedded one is a part of the center: it dies with it, and what it holds is in memory.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from farshore_center.broker.render import (
    MosquittoSite,
    NatsSite,
    mosquitto_acl,
    mosquitto_conf,
    nats_conf,
)
from farshore_sim.ports import LOOPBACK

from soak.errors import SoakError
from soak.http import until
from soak.processes import Ports, Program


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """``program`` None: embedded. ``folder`` is all that it has; ``prepare`` writes what it needs."""

    kind: str
    nodes_port: int
    center_port: int
    folder: Path
    program: Program | None = None
    prepare: Callable[[], None] = lambda: None

    @property
    def mqtt(self) -> str:
        """The center's ``--mqtt``."""
        where = f"{LOOPBACK}:{self.center_port}"
        return where if self.program is None else f"mqtt://{where}"

    async def start(self) -> None:
        if self.program is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.prepare()
        self.program.start()
        await until(self._answers, f"{self.kind} to listen", within_s=20)

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, self.nodes_port)
        except OSError:
            return False
        writer.close()
        return True

    def kill_and_wipe(self) -> None:
        if self.program is not None:
            self.program.kill()
            shutil.rmtree(self.folder)


def embedded(folder: Path, ports: Ports) -> Broker:
    port = ports.take()
    return Broker(kind="embedded", nodes_port=port, center_port=port, folder=folder / "broker")


def mosquitto(folder: Path, ports: Ports) -> Broker:
    site = MosquittoSite(
        nodes_port=ports.take(),
        center_port=ports.take(),
        data=str(folder / "broker"),
        # Its own user can't read a folder of root's.
        user="root" if os.getuid() == 0 else None,
    )
    config = folder / "broker" / "mosquitto.conf"

    def prepare() -> None:
        config.write_text(mosquitto_conf(site))
        config.with_name("mosquitto.acl").write_text(mosquitto_acl(site))

    return Broker(
        kind="mosquitto",
        nodes_port=site.nodes_port,
        center_port=site.center_port,
        folder=folder / "broker",
        program=_program("mosquitto", folder, config, "make system"),
        prepare=prepare,
    )


def nats(folder: Path, ports: Ports) -> Broker:
    site = NatsSite(mqtt_port=ports.take(), native_port=ports.take(), data=str(folder / "broker"))
    config = folder / "broker" / "nats-server.conf"
    return Broker(
        kind="nats",
        nodes_port=site.mqtt_port,
        center_port=site.mqtt_port,
        folder=folder / "broker",
        program=_program("nats-server", folder, config, "make setup"),
        prepare=lambda: _write(config, nats_conf(site)),
    )


KINDS: Mapping[str, Callable[[Path, Ports], Broker]] = {
    "embedded": embedded,
    "mosquitto": mosquitto,
    "nats": nats,
}


def _program(name: str, folder: Path, config: Path, how: str) -> Program:
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=f"{beside}:{os.environ['PATH']}:/usr/sbin")
    if found is None:
        raise SoakError(f"{name} is not installed: {how}")
    return Program(name, (found, "-c", str(config)), folder / f"{name}.log")


def _write(file: Path, text: str) -> None:
    file.write_text(text)
