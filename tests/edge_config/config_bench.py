"""What the tests of a node's configuration share: a service over real files or in memory."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge.edge_bench import eventually
from farshore_edge.config import ConfigParts, ConfigService, Place
from farshore_edge.config.handlers import app, files, services
from farshore_edge.config.handlers.agent import AgentSettings
from farshore_edge.config.handlers.services import Services
from farshore_edge.config.health import HostHealth
from farshore_edge.config.model import ConfigHandler, HandlerTools
from farshore_edge.config.programs import HostPrograms
from farshore_edge.config.store import FileStore
from farshore_protocol.clock import ManualClock, SystemClock
from farshore_protocol.codec import convert, encode
from farshore_protocol.config.digest import digest
from farshore_protocol.config.messages import ConfigReport, DesiredConfig

ENVELOPE = {"epoch": "e", "seq": 1, "boot": "b", "up_ms": 1, "ts": 1}


def desired(
    rev: int, config: dict[str, Any], *, group: str = "", labels: dict[str, str] | None = None
) -> bytes:
    return encode(
        DesiredConfig(
            rev=rev, digest=digest(config), config=config, group=group, labels=labels or {}
        )
    )


def tools(folder: Path) -> HandlerTools:
    return HandlerTools(
        node="pi-17",
        data=folder / "agent" / "config",
        roots=(folder / "root",),
        programs=HostPrograms(),
        may_run=True,
    )


def host_parts(folder: Path, *more: ConfigHandler) -> ConfigParts:
    made = tools(folder)
    (folder / "root").mkdir(exist_ok=True)
    return ConfigParts(
        store=FileStore(made.data),
        handlers=(files.make(made), app.make(made), *(more or (services.make(made),))),
        health=HostHealth(made.programs, SystemClock()),
    )


class Bench:
    """A node's configuration; ``records`` is what it told, ``live`` the agent's settings."""

    def __init__(self, parts: ConfigParts, *, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.records: list[tuple[str, str, dict[str, Any]]] = []
        self.live: dict[str, Any] = {"sample_interval_s": 5.0, "heartbeat_s": 30.0}
        self.moves = 0
        self.facts: dict[str, Any] = {"cpu": {"cores": 4}}
        own = AgentSettings(dict(self.live), {key: self._setter(key) for key in self.live})
        self.service = ConfigService(
            parts,
            own,
            node="pi-17",
            place=Place(group="eu", labels={"site": "x"}),
            tell=self._tell,
            facts=lambda: self.facts,
            now_ms=self.clock.now_ms,
            monotonic_s=self.clock.monotonic_s,
            moved=self._moved,
        )
        self.running = asyncio.create_task(self.service.run())

    def _setter(self, key: str) -> Callable[[Any], None]:
        def change(value: Any) -> None:
            self.live[key] = value

        return change

    def _moved(self) -> None:
        self.moves += 1

    async def _tell(self, stream: str, path: str, body: dict[str, Any]) -> None:
        if path == "rep/config":
            convert(ConfigReport, {**ENVELOPE, **body})
        self.records.append((stream, path, body))

    def take(self, rev: int, config: dict[str, Any], **place: Any) -> None:
        self.service.take(desired(rev, config, **place))

    def reports(self) -> list[dict[str, Any]]:
        return [body for _, path, body in self.records if path == "rep/config"]

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [body["data"] for _, path, body in self.records if path == f"evt/{kind}"]

    async def reported(self, rev: int, state: str) -> dict[str, Any]:
        """The report of this revision in this state, once it is made."""

        def fits() -> list[dict[str, Any]]:
            return [each for each in self.reports() if (each["rev"], each["state"]) == (rev, state)]

        try:
            await eventually(fits)
        except AssertionError:
            raise AssertionError(f"no report {rev} {state}; there are {self.reports()}") from None
        return fits()[-1]

    async def stop(self) -> None:
        await self.service.stop()
        assert not self.running.cancelled() or self.running.done()


class Systemctl:
    """A ``systemctl`` that is a shell script over a folder: a file for each enabled, running unit."""

    SCRIPT = """#!/bin/sh
S={state}
echo "$@" >> $S/calls
verb=$1; shift; [ "$1" = "--" ] && shift; unit=$1
case $verb in
is-enabled) [ -e $S/$unit.enabled ] && echo enabled || {{ echo disabled; exit 1; }};;
is-active) [ -e $S/$unit.running ] && echo active || {{ echo inactive; exit 3; }};;
enable) touch $S/$unit.enabled;;
disable) rm -f $S/$unit.enabled;;
start) [ "$unit" = broken.service ] && {{ echo "it is broken" >&2; exit 1; }}; touch $S/$unit.running;;
stop) rm -f $S/$unit.running;;
esac
"""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "systemd"
        self.state.mkdir()
        self.program = folder / "systemctl"
        self.program.write_text(self.SCRIPT.format(state=self.state))
        self.program.chmod(0o755)

    def handler(self) -> Services:
        return Services(tools(self.state), systemctl=str(self.program), runs=lambda: True)

    def calls(self) -> list[str]:
        file = self.state / "calls"
        told = file.read_text().splitlines() if file.exists() else []
        return [call for call in told if not call.startswith("is-")]

    def has(self, unit: str, what: str) -> bool:
        return (self.state / f"{unit}.{what}").exists()
