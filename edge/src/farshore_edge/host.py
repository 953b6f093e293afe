"""The agent on a real machine: its disk, its hardware, its link."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from farshore_protocol.clock import SystemClock
from farshore_protocol.ids import Ids, system_rng
from farshore_protocol.link import BackoffSettings
from farshore_protocol.link.mqtt import MqttLink, MqttSettings

from farshore_edge.app import Agent
from farshore_edge.commands.verbs.added import installed
from farshore_edge.commands.verbs.diagnose import LogLines, no_lines
from farshore_edge.commands.verbs.guard import Guard
from farshore_edge.commands.verbs.power import Power
from farshore_edge.config.host import host_config
from farshore_edge.database import open_or_wait
from farshore_edge.devices import device_facts
from farshore_edge.diagnosis import host_support
from farshore_edge.facts.host import host_facts
from farshore_edge.settings import Settings
from farshore_edge.tasks.host import host_tasks
from farshore_edge.telemetry.collectors.host import host_collectors
from farshore_edge.telemetry.sampler import Collector


class HostMachine:
    """The machine that the agent runs on. ``devices``: those that have a name, with their paths."""

    def __init__(self, devices: Mapping[str, str] | None = None) -> None:
        self._devices = devices or {}

    def collectors(self) -> Sequence[Collector]:
        return host_collectors()

    def facts(self) -> dict[str, Any]:
        facts = host_facts()
        return {**facts, "devices": device_facts(self._devices)} if self._devices else facts


def mqtt_link_settings(settings: Settings) -> MqttSettings:
    host, port = settings.host_port
    return MqttSettings(
        host=host,
        port=port,
        backoff=BackoffSettings(first_s=settings.backoff_first_s, max_s=settings.backoff_max_s),
    )


def host_agent(
    settings: Settings, *, power: Power | None = None, log_lines: LogLines = no_lines
) -> Agent:
    """``power``: to restart it and its machine; without it, it has no verbs for that. ``log_lines``:
    the last lines of its log."""
    clock, rng = SystemClock(), system_rng()
    path = Path(settings.data) / "agent.db"
    guard = Guard(path.with_name("programs"))
    database, aside = open_or_wait(path, Ids(rng), clock.now_ms)
    return Agent(
        settings,
        machine=HostMachine(settings.devices),
        database=database,
        aside=aside,
        link=MqttLink(mqtt_link_settings(settings), clock=clock, rng=rng),
        clock=clock,
        rng=rng,
        power=power,
        support=host_support(log_lines, Path(settings.data)),
        config=host_config(settings, clock, guard),
        guard=guard,
        find_verbs=installed,
        tasks=host_tasks(
            Path(settings.data),
            guard,
            dask_scheduler=settings.dask_scheduler,
            devices=settings.devices,
        ),
    )
