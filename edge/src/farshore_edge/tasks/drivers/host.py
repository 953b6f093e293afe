"""The drivers of a real machine: the agent's own, and those that further packages bring along by entry
points of the group ``farshore.task_drivers``."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from farshore_edge.tasks.drivers import container, dask
from farshore_edge.tasks.drivers.lacking import Lacking
from farshore_edge.tasks.drivers.limits.model import Cages
from farshore_edge.tasks.drivers.model import Driver
from farshore_edge.tasks.drivers.process import ProcessDriver
from farshore_edge.tasks.drivers.python.driver import PythonDriver
from farshore_edge.tasks.drivers.python.environments import Environments

log = logging.getLogger(__name__)

GROUP = "farshore.task_drivers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a driver is made with, an added one as well: ``make(site) -> Driver``. ``data``: the agent's
    data folder, ``folder``: of all instances. ``processes`` runs programs of this machine, for drivers
    that need one. ``dask_scheduler``: the setting of that name, or empty."""

    data: Path
    folder: Path
    cages: Cages
    processes: Driver
    dask_scheduler: str = ""


def host_site(data: Path, folder: Path, cages: Cages, dask_scheduler: str = "") -> Site:
    return Site(
        data=data,
        folder=folder,
        cages=cages,
        processes=ProcessDriver(folder, cages),
        dask_scheduler=dask_scheduler,
    )


def host_drivers(site: Site) -> tuple[Driver, ...]:
    own: list[Driver] = [
        site.processes,
        PythonDriver(site.processes, Environments(site.data / "environments")),
        container.make(site.data, os.environ),
        dask.make(site.processes, site.dask_scheduler),
    ]
    return (*own, *_added(site, {each.name for each in own}))


def _added(site: Site, taken: set[str]) -> list[Driver]:
    """A package that can't be loaded costs its own driver alone."""
    from importlib.metadata import entry_points

    found: list[Driver] = []
    for point in entry_points(group=GROUP):
        if point.name in taken:
            log.warning("a driver is there already", extra={"driver": point.name})
            continue
        try:
            found.append(point.load()(site))
        except ImportError as exc:
            found.append(Lacking(point.name, _Unknown, exc, "the driver is of another package"))
        except Exception:  # a foreign package may fail in any way
            log.exception("a driver can't be loaded", extra={"driver": point.name})
        taken.add(point.name)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unknown:
    """Settings of a driver that could not be loaded."""
