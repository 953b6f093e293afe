"""The tasks of a real machine: its drivers, and where their work lies."""

import os
from pathlib import Path

from farshore_edge.tasks.drivers import shim
from farshore_edge.tasks.drivers.process import ProcessDriver
from farshore_edge.tasks.parts import TaskParts
from farshore_edge.tasks.probing import HostProbe


def host_tasks(data: Path) -> TaskParts:
    """``data``: the agent's folder."""
    folder = data.absolute() / "tasks"
    return TaskParts(
        drivers=(ProcessDriver(folder),),
        folder=folder,
        probe=HostProbe(),
        machine_boot=shim.boot_id(),
        boot_s=shim.boot_s,
        inherited=os.environ,
    )
