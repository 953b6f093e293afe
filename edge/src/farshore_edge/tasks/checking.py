"""The health of one run: asked again and again, and what follows from the answers."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from farshore_protocol.tasks.spec import HealthCheck

from farshore_edge.tasks.drivers.model import DriverError, Work
from farshore_edge.tasks.office import called
from farshore_edge.tasks.parts import Probe

EAGER_S = 1.0
"""Between two questions while it is starting, at most."""


async def sick(
    check: HealthCheck, probe: Probe, work: Work, *, told: Callable[[bool, bool], None]
) -> str:
    """Returns once it has failed ``check.failures`` times in a row: why. ``told(healthy, started)`` is
    called with each answer; until the first success, or ``start_s`` at most, it has not started."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + check.start_s
    started, row = False, 0
    while True:
        why = await _problem(check, probe, work)
        late = loop.time() >= until_s
        started = started or why is None or late
        told(why is None, started)
        row = row + 1 if why is not None and started else 0
        if row >= check.failures and why is not None:
            return f"unhealthy, {row} times in a row: {why}"
        await asyncio.sleep(check.interval_s if started else min(check.interval_s, EAGER_S))


async def _problem(check: HealthCheck, probe: Probe, work: Work) -> str | None:
    folder: Path = work.folder
    try:
        asking = probe.problem(check, folder, work.env)
        return await called(asking, check.timeout_s + EAGER_S, "health check")
    except DriverError as exc:
        return exc.detail
