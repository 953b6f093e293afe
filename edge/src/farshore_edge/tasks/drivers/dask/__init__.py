"""The driver ``dask``: hands work to a Dask cluster."""

from farshore_edge.tasks.drivers.dask.driver import DaskDriver
from farshore_edge.tasks.drivers.model import Driver


def make(processes: Driver, scheduler: str) -> Driver:
    """``scheduler``: the node's own, or empty. Nothing of Dask is loaded into the agent."""
    return DaskDriver(processes, scheduler or None)
