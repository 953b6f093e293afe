"""Which drivers this machine can use, and what is asked of all of them."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from farshore_edge.tasks.drivers.model import Capacity, Driver, DriverError
from farshore_edge.tasks.office import called
from farshore_edge.tasks.parts import Deadlines

log = logging.getLogger(__name__)


class DriversHere:
    """``usable``: by name. ``missing``: why a driver can't be used."""

    def __init__(self, drivers: tuple[Driver, ...], deadlines: Deadlines) -> None:
        self.usable: dict[str, Driver] = {}
        self.missing: dict[str, str] = {}
        self._drivers = drivers
        self._deadlines = deadlines

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.usable))

    def lack_of(self, name: str) -> str:
        """Why there is no such driver here, for people."""
        if (missing := self.missing.get(name)) is not None:
            return f"driver {name} can't be used here: {missing}"
        return f"driver {name}: this node has {', '.join(self.names()) or 'none'}"

    async def prepare(self) -> None:
        await asyncio.gather(*map(self._first, self._drivers))

    async def run(self, live: Callable[[], frozenset[str]], came: Callable[[], None]) -> None:
        """Asks those again that can't be used: an engine may come later than the agent. What belongs to
        nobody is ended before one is used; ``live`` as for ``sweep``. ``came``: is called then."""
        while self.missing:
            await asyncio.sleep(self._deadlines.ask_s)
            for driver in [each for each in self._drivers if each.name in self.missing]:
                if (why := await self._lack(driver)) is not None:
                    self.missing[driver.name] = why
                    continue
                await self._sweep(driver, live())
                self.usable[driver.name] = driver
                del self.missing[driver.name]
                log.info("a driver can be used now", extra={"driver": driver.name})
                came()

    async def _first(self, driver: Driver) -> None:
        why = await self._lack(driver)
        if why is None:
            self.usable[driver.name] = driver
        else:
            self.missing[driver.name] = why
            log.info("a driver can't be used", extra={"driver": driver.name, "reason": why})

    async def _lack(self, driver: Driver) -> str | None:
        """Why it can't be used here."""
        limit_s = self._deadlines.available_s
        try:
            return await called(driver.available(), limit_s, f"driver {driver.name}")
        except DriverError as exc:
            return exc.detail

    async def cluster(self) -> dict[str, Any] | None:
        """What a driver adds to this node that hands work to a cluster; None where there is none, or it
        does not say. Then the node's own processors and memory do not count for that driver's tasks."""
        for driver in self.usable.values():
            asked = getattr(driver, "capacity", None)
            if asked is None:
                continue
            what = f"driver {driver.name}: capacity"
            try:
                capacity: Capacity | None = await called(asked(), self._deadlines.facts_s, what)
            except DriverError as exc:
                log.warning("the capacity of a cluster is not known", extra={"error": exc.detail})
                continue
            if capacity is not None:
                return {
                    "driver": driver.name,
                    "cpu_cores": capacity.cpu_cores,
                    "memory_bytes": capacity.memory_bytes,
                    **capacity.facts,
                }
        return None

    async def sweep(self, live: frozenset[str]) -> None:
        """Ends what runs and belongs to nobody. ``live``: ids of the works that go on."""
        await asyncio.gather(*(self._sweep(driver, live) for driver in self.usable.values()))

    async def _sweep(self, driver: Driver, live: frozenset[str]) -> None:
        try:
            limit_s = self._deadlines.sweep_s
            ended = await called(driver.sweep(live), limit_s, f"driver {driver.name}: sweep")
        except DriverError as exc:
            log.error("what belongs to nobody could not be ended", extra={"error": exc.detail})
            return
        if ended:
            log.warning("ended what belongs to no task", extra={"processes": ", ".join(ended)})
