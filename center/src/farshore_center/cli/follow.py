"""Follow a command to its end: live events, with polling as the net under them.

The order is what makes it safe: subscribe first, then look at the record. What happened before the
subscription is in the record, what happens after it is an event. Where the stream fails, the record
is looked at every second until it is back; where it stands, now and then all the same.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from farshore_center.cli.client import CenterClient, segment
from farshore_center.cli.errors import RefusedError, UnreachableError
from farshore_center.cli.progress import Command, is_done, with_event

POLL_S = 1.0
NET_S = 5.0
PATIENCE_S = 60.0
"""How long the center may be away in the middle before we give up."""

_LOOK: Final = None
"""On the queue in place of an event: look at the record now."""

Show = Callable[[Command], None]


class _Listener:
    """Keeps a subscription alive and passes its events on."""

    def __init__(self, client: CenterClient, command_id: str) -> None:
        self._client = client
        self._command_id = command_id
        self._last: int | None = None
        self.subscribed = False
        self.queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def run(self) -> None:
        while True:
            with suppress(UnreachableError, RefusedError, ValueError):
                async with self._client.subscribe(
                    {"command": self._command_id}, self._last
                ) as events:
                    async for batch in events:
                        if not self.subscribed:
                            self.subscribed = True
                            self.queue.put_nowait(_LOOK)
                        for event in batch:
                            self._last = event.get("id", self._last)
                            self.queue.put_nowait(event)
            self.subscribed = False
            await asyncio.sleep(POLL_S)

    async def next(self) -> dict[str, Any] | None:
        """The next event, or that it is time to look."""
        try:
            async with asyncio.timeout(NET_S if self.subscribed else POLL_S):
                return await self.queue.get()
        except TimeoutError:
            return _LOOK


async def follow(client: CenterClient, command: Command, show: Show) -> Command:
    """The command's record once every target is in a final state; ``show`` sees it grow."""
    if command.get("done"):  # in the center's own word, so every output is in it
        show(command)
        return command
    listener = _Listener(client, command["id"])
    task = asyncio.create_task(listener.run())
    look = _Look(client, command["id"])
    try:
        show(command)
        # A command may be done at once (no node to ask), but only its record has every output.
        finished = is_done(command)
        while not finished:
            event = await listener.next()
            command = (
                await look.at_record(command) if event is _LOOK else with_event(command, event)
            )
            show(command)
            finished = is_done(command)
            if finished and event is not _LOOK:
                command = await look.at_record(command)
                finished = is_done(command)
        show(command)
        return command
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class _Look:
    """GETs of the record, with patience for a center that is away for a while."""

    def __init__(self, client: CenterClient, command_id: str) -> None:
        self._client = client
        self._path = f"/commands/{segment(command_id)}"
        self._away_since: float | None = None

    async def at_record(self, known: Command) -> Command:
        now = asyncio.get_running_loop().time()
        try:
            record = await self._client.get(self._path)
        except UnreachableError:
            self._away_since = self._away_since or now
            if now - self._away_since > PATIENCE_S:
                raise
            return known
        self._away_since = None
        return record
