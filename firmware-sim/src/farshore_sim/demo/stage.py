"""Everything that the demonstration plays with: set up, and all of it taken down, whatever happens."""

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from farshore_edge.tasks.drivers.process import ProcessDriver
from farshore_protocol.clock import SystemClock

from farshore_sim.demo.center import CenterApi
from farshore_sim.demo.ports import ClaimedPort
from farshore_sim.demo.processes import Program
from farshore_sim.faults import TcpProxy
from farshore_sim.fleet import Fleet, FleetSettings

HERE = "this-machine"
WORKERS = {"line-1": "eu/hamburg", "line-2": "eu/hamburg", "core-1": "core"}
"""Further real agents on this machine, and their groups: they run the tasks."""
SAMPLE_S = 0.5
BATCH_S = 1.0
HTTP_PORT = 8080
MQTT_PORT = 1883


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """``work``: whether the chapters of tasks are told. ``stay``: whether to go on until Ctrl-C when the
    story is told."""

    nodes: int = 12
    cut_s: float = 20.0
    work: bool = True
    stay: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """``programs``: those that must be running; what starts one appends it."""

    settings: DemoSettings
    data: Path
    api: CenterApi
    mqtt_port: int
    fleet: Fleet
    proxy: TcpProxy
    programs: list[Program] = field(default_factory=list)

    @property
    def outbox(self) -> Path:
        return self.data / "agent" / "agent.db"

    async def start_center(self) -> None:
        self.programs.append(
            await Program.start(
                "farshore-center",
                *("run", "--dev", "--data", str(self.data / "center")),
                *("--http", self.api.url.removeprefix("http://")),
                *("--mqtt", f"127.0.0.1:{self.mqtt_port}"),
                log=self.data / "center.log",
            )
        )

    async def start_agent(self) -> None:
        """The real agent on this machine, its link through the proxy."""
        await self._agent(
            "agent",
            *("--node", HERE, "--group", "eu/hamburg", "--label", "env=demo"),
            *("--center", f"mqtt://127.0.0.1:{self.proxy.port}"),
            *("--sample-interval-s", str(SAMPLE_S), "--batch-s", str(BATCH_S)),
        )

    async def start_worker(self, node: str) -> Program:
        """Another agent, as if it had a machine of its own."""
        return await self._agent(
            node,
            *("--node", node, "--group", WORKERS[node], "--label", "work=yes"),
            # Of one machine, and yet of two kinds: run times of one say nothing about the other.
            *("--label", f"kind={'rack' if WORKERS[node] == 'core' else 'box'}"),
            *("--center", f"mqtt://127.0.0.1:{self.mqtt_port}", "--heartbeat-s", "1"),
        )

    async def _agent(self, folder: str, *options: str) -> Program:
        program = await Program.start(
            "farshore-agent",
            *("run", "--dev", "--data", str(self.data / folder), *options),
            *("--backoff-first-s", "0.5", "--backoff-max-s", "2"),
            log=self.data / f"{folder}.log",
        )
        self.programs.append(program)
        return program


@contextlib.asynccontextmanager
async def set_up(settings: DemoSettings) -> AsyncIterator[Stage]:
    async with contextlib.AsyncExitStack() as down:
        data = Path(tempfile.mkdtemp(prefix="farshore-demo-"))
        down.callback(shutil.rmtree, data, ignore_errors=True)
        http = down.enter_context(contextlib.closing(ClaimedPort(HTTP_PORT)))
        mqtt = down.enter_context(contextlib.closing(ClaimedPort(MQTT_PORT)))
        programs: list[Program] = []
        api = CenterApi(f"http://127.0.0.1:{http.port}", programs)
        down.push_async_callback(api.close)
        proxy = TcpProxy("127.0.0.1", mqtt.port)
        down.push_async_callback(proxy.stop)
        # An agent's end ends no task; the demonstration's does.
        down.push_async_callback(_end_tasks, data)
        down.push_async_callback(_stop_all, programs)
        fleet = Fleet(
            FleetSettings(
                nodes=settings.nodes,
                center=f"mqtt://127.0.0.1:{mqtt.port}",
                sample_interval_s=1,
                batch_s=2,
            ),
            clock=SystemClock(),
        )
        down.push_async_callback(fleet.stop)
        yield Stage(
            settings=settings,
            data=data,
            api=api,
            mqtt_port=mqtt.port,
            fleet=fleet,
            proxy=proxy,
            programs=programs,
        )


async def _stop_all(programs: list[Program]) -> None:
    """The last one that was started first."""
    async with contextlib.AsyncExitStack() as down:
        for program in programs:
            down.push_async_callback(program.stop)


async def _end_tasks(data: Path) -> None:
    """Of every agent, whatever it has begun and is no more there to end."""
    for node in WORKERS:
        await ProcessDriver(data / node / "tasks").sweep(frozenset())
