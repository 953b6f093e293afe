"""The parts of an agent that run: each is a task with a name. One that breaks is told of; what the parts
do is not known here."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

log = logging.getLogger(__name__)


class RunningParts:
    def __init__(self, broke: Callable[[], None]) -> None:
        """``broke`` is called when a part has ended by an error."""
        self._broke = broke
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._tasks))

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks[name] = task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.critical(
                "a part of the agent broke; it stops so that it can be started anew",
                extra={"part": task.get_name()},
                exc_info=task.exception(),
            )
            self._broke()

    async def end(self, *names: str) -> None:
        """Ends these; what they were broken by was logged when they broke."""
        tasks = [self._tasks.pop(name) for name in names if name in self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
