"""The configuration's parts on a real machine."""

import contextlib
import logging
from pathlib import Path

from farshore_protocol.clock import Clock

from farshore_edge.commands.verbs.guard import Guard
from farshore_edge.config.handlers import app, files, packages, services
from farshore_edge.config.handlers.plain import Plain
from farshore_edge.config.health import HostHealth
from farshore_edge.config.model import HandlerTools
from farshore_edge.config.parts import ConfigParts
from farshore_edge.config.programs import HostPrograms
from farshore_edge.config.registry import by_entry_point
from farshore_edge.config.store import FileStore
from farshore_edge.settings import Settings


def host_config(settings: Settings, clock: Clock, guard: Guard | None = None) -> ConfigParts:
    data = Path(settings.data).absolute()
    roots = [Path(root) for root in settings.config_roots]
    if settings.dev:
        below = data / "files"
        with contextlib.suppress(OSError):  # the agent starts without a disk, too
            below.mkdir(parents=True, exist_ok=True)
        roots.append(below)
    programs = HostPrograms(guard)
    tools = HandlerTools(
        node=settings.node,
        data=data / "config",
        roots=tuple(roots),
        programs=programs,
        may_run=settings.dev or settings.config_programs,
    )
    own = [each.make(tools) for each in (files, app, services, packages)]
    return ConfigParts(
        store=FileStore(tools.data),
        handlers=(*own, Plain("health", tools)),
        discover=by_entry_point(tools),
        health=HostHealth(programs, clock),
        log_level=logging.getLogger().setLevel,
    )
