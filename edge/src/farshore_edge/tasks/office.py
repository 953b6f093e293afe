"""What the keepers of a node's instances share, and how a driver is called: never without a deadline."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, fields
from math import inf
from typing import Any, TypeVar

import msgspec
from farshore_protocol.tasks import Grant
from farshore_protocol.tasks.spec import Gpus

from farshore_edge.devices import device_problem, variable_of
from farshore_edge.tasks.assignment import gpus_problem
from farshore_edge.tasks.drivers.model import Driver, DriverError, Work
from farshore_edge.tasks.folders import Folders
from farshore_edge.tasks.lease_files import Leases
from farshore_edge.tasks.model import Kept, id_of
from farshore_edge.tasks.parts import TaskParts

log = logging.getLogger(__name__)

T = TypeVar("T")

INHERITED = ("PATH", "LANG", "LC_ALL", "TZ")
"""Of the agent's own environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """``drivers``: those that can be used now; ``missing``: why another can't. ``tell``: makes an
    instance durable and says an event; ``changed``: a report is due. ``boot_s``: the clock of leases.
    ``config``: the node's effective configuration. ``taken``: processors that are given to some instance
    alone. ``gpus``, ``devices``: what those have that are at work, but for the one of that id. ``environ``:
    of the agent."""

    node: str
    parts: TaskParts
    drivers: Mapping[str, Driver]
    missing: Mapping[str, str]
    folders: Folders
    leases: Leases
    tell: Callable[[Kept], Awaitable[None]]
    changed: Callable[[], None]
    now_ms: Callable[[], int]
    boot_s: Callable[[], float]
    config: Callable[[], Mapping[str, Any]]
    taken: Callable[[], frozenset[int]]
    gpus: Callable[[str], list[tuple[Gpus, tuple[int, ...]]]]
    devices: Callable[[str], frozenset[str]]
    environ: Mapping[str, str]

    def check_gpus(self, kept: Kept) -> None:
        """A center that was restored may give a GPU twice. Raises DriverError."""
        wanted, given = kept.grant.spec.requests.gpu, kept.grant.gpus
        problem = gpus_problem(wanted, given, self.gpus(kept.id), self.parts.gpus_present())
        if problem is not None:
            raise DriverError("no_gpus", problem)

    def check_devices(self, kept: Kept) -> None:
        """Raises DriverError."""
        wanted, paths = kept.grant.spec.requests.devices, self.parts.devices
        absent = [name for name in wanted if name in paths and not os.path.exists(paths[name])]
        problem = device_problem(wanted, self.devices(kept.id), paths, absent)
        if problem is not None:
            raise DriverError("no_device", problem)

    def work(self, grant: Grant, cpus: tuple[int, ...]) -> Work:
        """Raises DriverError for what can't be put together."""
        spec, name = grant.spec, id_of(grant.task, grant.instance, grant.epoch)
        folders = self.folders
        leased = spec.disconnect.on_disconnect == "stop"
        paths = self.parts.devices
        devices = {each: paths[each] for each in spec.requests.devices if each in paths}
        machine = {key: self.environ[key] for key in INHERITED if key in self.environ}
        machine["HOME"] = str(folders.files(name))
        asked = self.parts.environ(grant, self.config())
        env = {
            **machine,
            **asked,
            **{variable_of(each): path for each, path in devices.items()},
            "FARSHORE_NODE": self.node,
            "FARSHORE_TASK": grant.task,
            "FARSHORE_INSTANCE": str(grant.instance),
            "FARSHORE_ATTEMPT": str(grant.attempt),
            "FARSHORE_EPOCH": str(grant.epoch),
            "FARSHORE_RESULT": str(folders.result(name)),
        }
        return Work(
            id=name,
            run=settings_of(self.drivers[spec.driver], spec.run),
            folder=folders.files(name),
            state=folders.state(name),
            output=folders.output(name),
            env=env,
            machine_env=frozenset(machine.keys() - asked.keys()),
            requests=spec.requests,
            limits=spec.limits,
            cpus=cpus,
            gpus=grant.gpus,
            gpu_milli=spec.requests.gpu.milli,
            devices=devices,
            lease=self.leases.file(name) if leased else None,
            stop_signal=spec.stop_signal,
            stop_grace_s=spec.stop_grace_s,
        )


def settings_of(driver: Driver, run: Mapping[str, Any]) -> Any:
    """``run`` as the driver's settings. Raises DriverError, which names the field."""
    known = [each.name for each in fields(driver.settings)]
    for name in run:
        if name not in known:
            expected = ", ".join(known) or "nothing"
            why = f"run.{name}: the driver {driver.name} has no such setting; expected {expected}"
            raise DriverError("bad_settings", why, permanent=True)
    try:
        return msgspec.convert(dict(run), driver.settings)
    except msgspec.ValidationError as exc:
        words = str(exc).replace("$.", "run.")
        why = f"settings of the driver {driver.name}: {words}"
        raise DriverError("bad_settings", why, permanent=True) from exc


async def called(
    work: Coroutine[Any, Any, T],
    within_s: float,
    what: str,
    note: Callable[[str], None] | None = None,
    slow_s: float = inf,
) -> T:
    """What a driver answers; one that hangs, or breaks, is a DriverError as well. ``note`` is told once it
    has not answered for ``slow_s``, and is waited for further."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(_heard)
    try:
        if note is not None and slow_s < within_s:
            await asyncio.wait({task}, timeout=slow_s)
            if not task.done():
                note(f"{what}: no answer for {slow_s:g} s; it is given up after {within_s:g} s")
                await asyncio.wait({task}, timeout=within_s - slow_s)
        else:
            await asyncio.wait({task}, timeout=within_s)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not task.done():
        task.cancel()
        raise DriverError("hangs", f"{what}: the driver has not answered within {within_s:g} s")
    if task.cancelled():
        raise DriverError("broken", f"{what}: the driver gave up")
    trouble = task.exception()
    if trouble is None or isinstance(trouble, DriverError):
        return task.result()
    if not isinstance(trouble, Exception):
        raise trouble
    log.error("a driver broke", extra={"at": what}, exc_info=trouble)
    raise DriverError("broken", f"{what}: {type(trouble).__name__}: {trouble}") from trouble


def _heard(task: "asyncio.Future[Any]") -> None:
    """Whatever a task says that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
