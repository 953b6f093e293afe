"""A driver of containers with a real engine, and what a test runs by it."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from farshore_edge.tasks.drivers.container.driver import ContainerDriver
from farshore_edge.tasks.drivers.model import Exit, Work
from farshore_protocol.tasks.settings import ContainerSettings
from task_drivers.podman import Podman
from task_drivers.rigs import work

DEADLINE_S = 180.0


class Bench:
    def __init__(self, engine: Podman, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.driver = ContainerDriver(folder, [engine.socket])

    def work(self, script: str, id: str = "suite.0.7", **more: Any) -> Work:
        settings = ContainerSettings(
            image=self.engine.image, command=["/bin/sh", "-c", script], network="none"
        )
        return work(self.folder, replace(settings, **more), id=id)

    async def end(self, script: str, **more: Any) -> tuple[Exit, str]:
        made = self.work(script, **more)
        await self.driver.prepare(made)
        running = await self.driver.start(made)
        async with asyncio.timeout(DEADLINE_S):
            return await running.wait(), made.output.read_text()
