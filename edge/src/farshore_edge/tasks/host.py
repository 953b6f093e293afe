"""The tasks of a real machine: its drivers, and where their work lies."""

import os
from collections.abc import Mapping
from pathlib import Path

from farshore_edge.commands.verbs.guard import Guard
from farshore_edge.tasks.artifacts import HostArtifacts
from farshore_edge.tasks.assignment import HostAssigner, gpus_present
from farshore_edge.tasks.drivers.host import host_drivers, host_site
from farshore_edge.tasks.drivers.limits.choice import ChosenLate
from farshore_edge.tasks.drivers.shim import system
from farshore_edge.tasks.environment import environ
from farshore_edge.tasks.health import HostProbe
from farshore_edge.tasks.parts import TaskParts


def host_tasks(
    data: Path,
    guard: Guard | None = None,
    *,
    dask_scheduler: str = "",
    devices: Mapping[str, str] | None = None,
) -> TaskParts:
    """``data``: the agent's folder. ``guard``: where programs are on record. ``devices``: name to path."""
    folder = data.absolute() / "tasks"
    cages = ChosenLate(data.absolute())
    site = host_site(data.absolute(), folder, cages, dask_scheduler)
    return TaskParts(
        drivers=host_drivers(site),
        folder=folder,
        probe=HostProbe(guard),
        artifacts=HostArtifacts(),
        assigner=HostAssigner(),
        environ=environ,
        machine_boot=system.boot_id(),
        boot_s=system.boot_s,
        inherited=os.environ,
        limits=cages.told,
        gpus_present=gpus_present,
        devices=devices or {},
    )
