"""The agent's own verbs, each with what it needs of the agent. Wiring alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farshore_protocol.commands import Verb

from farshore_edge import VERSION
from farshore_edge.commands.tails import Tails
from farshore_edge.commands.verbs import (
    cancel,
    config_override,
    files,
    inquiry,
    logs,
    processes,
    services,
)
from farshore_edge.commands.verbs import exec as exec_verb
from farshore_edge.commands.verbs.cancel import Cancel
from farshore_edge.commands.verbs.config_override import Configuration
from farshore_edge.commands.verbs.diagnose import diagnose
from farshore_edge.commands.verbs.guard import Guard
from farshore_edge.commands.verbs.limits import Limits
from farshore_edge.commands.verbs.link_test import LinkTest
from farshore_edge.commands.verbs.model import Handler
from farshore_edge.commands.verbs.power import Now, Power, Reboot, RestartAgent
from farshore_edge.commands.verbs.probe import net_probe
from farshore_edge.config.folders import Folders
from farshore_edge.diagnosis import Diagnosis
from farshore_edge.settings import Settings
from farshore_edge.targets import EVERYONE, Targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Agency:
    """What verbs may use of the agent. ``config`` is asked for late: it is made after the verbs."""

    settings: Settings
    now_ms: Callable[[], int]
    center_now_ms: Callable[[], int]
    facts: Callable[[], dict[str, Any]]
    status: Callable[[], dict[str, Any]]
    verbs: Callable[[], list[str]]
    config: Callable[[], Configuration]
    cancel: Cancel
    link_test: LinkTest
    diagnosis: Diagnosis
    power: Power | None
    now: Now
    guard: Guard
    catalogue: Mapping[str, Verb]
    refused_verbs: Mapping[str, str]
    tails: Tails
    task_output: logs.TaskOutput = logs.no_tasks


def own_handlers(agent: Agency) -> dict[str, Handler]:
    readable, writable = folders_of(agent.settings)
    return {
        "ping": inquiry.ping(agent.now_ms),
        "facts": inquiry.facts(agent.facts),
        "status": inquiry.status(agent.status),
        "verbs": inquiry.verbs(agent.verbs, agent.catalogue, agent.refused_verbs),
        "exec": exec_verb.execution(Limits.of(agent.settings), agent.guard),
        "cancel": cancel.cancel(agent.cancel),
        "processes": processes.run,
        "services": services.services(guard=agent.guard),
        "file-read": files.read(readable),
        "file-write": files.write(writable),
        "logs": logs.logs(readable, agent.tails, guard=agent.guard, task_output=agent.task_output),
        "config-override": config_override.override(agent.config, agent.center_now_ms),
        "config-retry": config_override.retry(agent.config),
        "net-probe": net_probe(_targets(agent.settings), agent.now_ms),
        "link-test": agent.link_test,
        "diagnose": diagnose(
            agent.diagnosis.sections(),
            agent.diagnosis.support.log_lines,
            node=agent.settings.node,
            agent_version=VERSION,
            now_ms=agent.now_ms,
        ),
        **_power_handlers(agent),
    }


def _power_handlers(agent: Agency) -> dict[str, Handler]:
    if agent.power is None:
        return {}
    return {
        "restart-agent": RestartAgent(agent.power, agent.now),
        "reboot": Reboot(agent.power, agent.now),
    }


def _targets(settings: Settings) -> Targets:
    """Where commands may look; at the center always, for the agent does so itself."""
    everyone = (EVERYONE,) if settings.dev else ()
    return Targets((*settings.probe_targets, *everyone, settings.host_port[0]))


def write_roots(settings: Settings) -> tuple[str, ...]:
    own = (str(Path(settings.data).absolute() / "files"),) if settings.dev else ()
    return (*settings.write_roots, *own)


def folders_of(settings: Settings) -> tuple[Folders, Folders]:
    """What commands may read, and what they may write; an agent for development has a folder for it."""
    data = Path(settings.data).absolute()
    write = tuple(map(Path, write_roots(settings)))
    read = (*map(Path, settings.read_roots), *write)
    return Folders(read, data, setting="read_roots"), Folders(write, data, setting="write_roots")
