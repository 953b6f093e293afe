"""The driver ``container``: instances as containers of Docker or Podman."""

from collections.abc import Mapping
from pathlib import Path

from farshore_protocol.tasks.settings import ContainerSettings

from farshore_edge.tasks.drivers.lacking import Lacking
from farshore_edge.tasks.drivers.model import Driver


def make(data: Path, env: Mapping[str, str]) -> Driver:
    """For an agent with this data folder and environment. What it needs beside the agent is loaded
    here, and not before."""
    try:
        from farshore_edge.tasks.drivers.container.driver import ContainerDriver, host_sockets
    except ImportError as exc:
        remedy = "pip install 'farshore-edge[container]' in the agent's environment"
        return Lacking("container", ContainerSettings, exc, remedy)
    return ContainerDriver(data, host_sockets(env))
