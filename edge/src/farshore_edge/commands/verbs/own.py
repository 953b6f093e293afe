"""The agent's own verbs, each with what it needs of the agent. Wiring alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from farshore_edge.commands.verbs import cancel, config_override, inquiry
from farshore_edge.commands.verbs import exec as exec_verb
from farshore_edge.commands.verbs.cancel import Cancel
from farshore_edge.commands.verbs.config_override import Configuration
from farshore_edge.commands.verbs.model import Handler
from farshore_edge.settings import Settings


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


def own_handlers(agent: Agency) -> dict[str, Handler]:
    return {
        "ping": inquiry.ping(agent.now_ms),
        "facts": inquiry.facts(agent.facts),
        "status": inquiry.status(agent.status),
        "verbs": inquiry.verbs(agent.verbs),
        "exec": exec_verb.run,
        "cancel": cancel.cancel(agent.cancel),
        "config-override": config_override.override(agent.config, agent.center_now_ms),
        "config-retry": config_override.retry(agent.config),
    }
