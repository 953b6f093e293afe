"""Follow a command to its end: live events, with polling as the net under them.

The order is what makes it safe: subscribe first, then look at the record. What happened before the
subscription is in the record, what happens after it is an event. Where the stream fails, the record
is looked at every second until it is back; where it stands, now and then all the same. A stream that
was cut goes on after the last event seen (``Last-Event-ID``).

Events that came together are applied together: a thousand nodes that answer at once are one step.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from farshore_center.cli.client import CenterClient, Document, Params, segment
from farshore_center.cli.errors import RefusedError, UnreachableError
from farshore_center.cli.progress import Command, is_done, with_events

POLL_S = 1.0
NET_S = 5.0
PATIENCE_S = 60.0
"""How long the center may be away in the middle before we give up."""

_LOOK: Final = None
"""On the queue in place of events: look at the record now."""


class Watcher(Protocol):
    """Who is shown what is followed."""

    def show(self, command: Command) -> None: ...

    def away(self, seconds: float | None) -> None:
        """The center has not answered for so long; None: it does again."""


class Unseen:
    """A watcher for what is followed without being shown."""

    def show(self, command: Command) -> None:
        pass

    def away(self, seconds: float | None) -> None:
        pass


class Listener:
    """Keeps a subscription alive and passes its events on."""

    def __init__(self, client: CenterClient, params: Params) -> None:
        self._client = client
        self._params = params
        self._last: int | None = None
        self.subscribed = False
        self._queue: asyncio.Queue[list[Document] | None] = asyncio.Queue()

    async def run(self) -> None:
        while True:
            with suppress(UnreachableError, RefusedError, ValueError):
                await self._listen()
            self.subscribed = False
            await asyncio.sleep(POLL_S)

    async def _listen(self) -> None:
        async with self._client.subscribe(self._params, self._last) as events:
            async for batch in events:
                if not self.subscribed:
                    self.subscribed = True
                    self._queue.put_nowait(_LOOK)
                if batch:
                    self._last = batch[-1].get("id", self._last)
                    self._queue.put_nowait(batch)

    async def next(self) -> tuple[Sequence[Document], bool]:
        """The events since the last call, and whether it is time to look."""
        try:
            async with asyncio.timeout(NET_S if self.subscribed else POLL_S):
                batches = [await self._queue.get()]
        except TimeoutError:
            return [], True
        while not self._queue.empty():
            batches.append(self._queue.get_nowait())
        return [event for batch in batches for event in batch or ()], _LOOK in batches


async def follow(client: CenterClient, command: Command, watcher: Watcher) -> Command:
    """The command's record once every target is in a final state; ``watcher`` sees it grow."""
    if command.get("done"):  # in the center's own word, so every output is in it
        watcher.show(command)
        return command
    command_id = command["id"]
    listener = Listener(client, {"command": command_id})
    task = asyncio.create_task(listener.run())
    look = Look(client, f"/commands/{segment(command_id)}", watcher)
    try:
        watcher.show(command)
        # Events may leave output out; only the record has all of it.
        finished = is_done(command)
        while not finished:
            events, due = await listener.next()
            command = with_events(command, events)
            if due or is_done(command):
                command = await look.at_record(command)
                finished = is_done(command)
            watcher.show(command)
        return command
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Look:
    """GETs of a record, with patience for a center that is away for a while."""

    def __init__(self, client: CenterClient, path: str, watcher: Watcher) -> None:
        self._client = client
        self._path = path
        self._watcher = watcher
        self._away_since: float | None = None

    async def at_record(self, known: Any) -> Any:
        """The record, or what is known of it while the center is away."""
        now = asyncio.get_running_loop().time()
        try:
            record = await self._client.get(self._path)
        except UnreachableError:
            self._away_since = self._away_since or now
            if now - self._away_since > PATIENCE_S:
                raise
            self._watcher.away(now - self._away_since)
            return known
        if self._away_since is not None:
            self._watcher.away(None)
        self._away_since = None
        return record
