"""Runs a fleet and shows how it is doing: a live line on a terminal, a line in ten seconds elsewhere."""

import asyncio
import sys

from farshore_protocol.clock import SystemClock
from rich.console import Console
from rich.live import Live
from rich.text import Text

from farshore_sim.fleet.fleet import Fleet, FleetSettings


def status_line(fleet: Fleet, nodes: int) -> str:
    return (
        f"{fleet.connected()} of {nodes} nodes connected · {fleet.made()} records made · "
        f"{fleet.unsent()} not acknowledged yet"
    )


async def serve(settings: FleetSettings) -> None:
    """Until it is cancelled; then every node is stopped orderly."""
    fleet = Fleet(settings, clock=SystemClock())
    starting = asyncio.create_task(fleet.start())
    try:
        await _show(fleet, settings.nodes)
    finally:
        starting.cancel()
        await fleet.stop()


async def _show(fleet: Fleet, nodes: int) -> None:
    console = Console(stderr=True)
    if console.is_terminal:
        with Live(console=console, refresh_per_second=2) as live:
            while True:
                live.update(Text(status_line(fleet, nodes)))
                await asyncio.sleep(0.5)
    while True:
        sys.stderr.write(status_line(fleet, nodes) + "\n")
        await asyncio.sleep(10)
