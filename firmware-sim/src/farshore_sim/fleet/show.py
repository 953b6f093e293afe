"""Runs a fleet and shows how it is doing: a live line on a terminal; elsewhere a line when all are
connected or not all any more, and every ten seconds.
"""

import asyncio
import sys
from collections.abc import Callable

from farshore_protocol import garbage
from farshore_protocol.clock import SystemClock
from rich.console import Console
from rich.live import Live
from rich.text import Text

from farshore_sim.fleet.fleet import Fleet, FleetSettings

LOOK_EVERY_S = 0.5
SAY_EVERY_S = 10.0


def status_line(fleet: Fleet, settings: FleetSettings) -> str:
    connected, broken = fleet.connected(), len(fleet.broken())
    waiting = settings.nodes - connected - broken
    parts = [f"{connected} of {settings.nodes} nodes connected"]
    if waiting:
        parts.append(f"{waiting} keep trying {settings.center}")
    if broken:
        parts.append(f"{broken} broken, see the log")
    parts += [f"{fleet.made()} records made", f"{fleet.unsent()} not acknowledged yet"]
    return " · ".join(parts)


async def serve(settings: FleetSettings) -> None:
    """Until it is cancelled; then every node is stopped orderly."""
    fleet = Fleet(settings, clock=SystemClock())
    starting = asyncio.create_task(fleet.start())
    showing = asyncio.create_task(_show(fleet, settings))
    try:
        await starting
        # A thousand agents in one process would be stopped together, which nodes on machines of their
        # own never are.
        garbage.settle()
        await showing
    finally:
        starting.cancel()
        showing.cancel()
        await asyncio.wait([starting, showing])
        await fleet.stop()
        sys.stderr.write(
            f"stopped: {fleet.made()} records made, {fleet.unsent()} not acknowledged\n"
        )


async def _show(fleet: Fleet, settings: FleetSettings) -> None:
    console = Console(stderr=True)
    if console.is_interactive:
        with Live(console=console, refresh_per_second=2) as live:
            while True:
                live.update(Text(status_line(fleet, settings)))
                await asyncio.sleep(LOOK_EVERY_S)
    await _say(fleet, settings, asyncio.get_running_loop().time)


async def _say(fleet: Fleet, settings: FleetSettings, now_s: Callable[[], float]) -> None:
    due_s, all_were = 0.0, False
    while True:
        all_are = fleet.connected() == settings.nodes
        if all_are != all_were or now_s() >= due_s:
            sys.stderr.write(status_line(fleet, settings) + "\n")
            sys.stderr.flush()
            due_s, all_were = now_s() + SAY_EVERY_S, all_are
        await asyncio.sleep(LOOK_EVERY_S)
