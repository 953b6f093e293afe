"""A container's output, copied into the instance's file while it runs.

The engine keeps it as well. What a dead agent has missed, or written half, is written again: the
container remembers where its output begins in the file.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from farshore_edge.tasks.drivers.container.engine import Engine, EngineError, EngineGoneError

log = logging.getLogger(__name__)

HEADER_BYTES = 8
AGAIN_S = 1.0
LOOKED_AT_AGAIN_BYTES = 4 * 1024 * 1024
"""The engine reads all of an output to tell its end; of a longer one the follower is believed."""


class Frames:
    """Takes the frames of ``/logs`` apart (Docker: a byte for the stream, three zero, four of length).
    A container with a terminal would send none; ours have none."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._rest += data
        while len(self._rest) >= HEADER_BYTES:
            length = int.from_bytes(self._rest[4:HEADER_BYTES], "big")
            end = HEADER_BYTES + length
            if len(self._rest) < end:
                return
            yield self._rest[HEADER_BYTES:end]
            self._rest = self._rest[end:]


class Copying:
    """One container's output on its way. ``begins_at``: bytes of the file that are older than the
    container."""

    def __init__(self, engine: Engine, container: str, output: Path, begins_at: int) -> None:
        self._engine = engine
        self._path = f"/containers/{container}/logs"
        self._output = output
        self._begins_at = begins_at
        self._written = 0
        self._finished = False
        self._task = asyncio.create_task(self._follow(), name=f"output of {container[:12]}")

    def give_up(self) -> None:
        self._task.cancel()

    async def finish(self, follow_s: float, rest_s: float) -> None:
        """Once the container has ended: all of it is written. A follower that does not come to the end
        within ``follow_s`` is given up. What it has left out is asked for, ``rest_s`` at most: Podman's
        comes to its end without the last lines now and then."""
        await asyncio.wait([self._task], timeout=follow_s)
        self._task.cancel()
        await asyncio.wait([self._task])
        came = not self._task.cancelled()
        if self._finished or (came and self._written > LOOKED_AT_AGAIN_BYTES):
            return
        try:
            async with asyncio.timeout(rest_s):
                await self._copy({"follow": "0"}, skip=self._written)
        except (TimeoutError, EngineError, EngineGoneError, OSError) as exc:
            if not came:
                log.warning(
                    "the end of a task's output is missing",
                    extra={"file": str(self._output), "why": str(exc)},
                )
        self._finished = True

    async def _follow(self) -> None:
        """An engine that goes away is asked again."""
        while True:
            try:
                await self._begin()
                await self._copy({"follow": "1"}, skip=0)
            except EngineGoneError as exc:
                log.info("the output of a container was interrupted", extra={"why": str(exc)})
                await asyncio.sleep(AGAIN_S)
            except EngineError as exc:
                log.info("the output of a container can't be had", extra={"why": exc.message})
                return
            except OSError as exc:
                log.warning(
                    "the output of a task can't be written",
                    extra={"file": str(self._output), "why": str(exc)},
                )
                return
            else:
                return

    async def _begin(self) -> None:
        self._written = 0
        file = os.open(self._output, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            with contextlib.suppress(OSError):  # a pipe, say
                os.ftruncate(file, min(self._begins_at, os.fstat(file).st_size))
        finally:
            os.close(file)

    async def _copy(self, query: dict[str, str], skip: int) -> None:
        """``skip``: bytes of the output that are written already."""
        file = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            asked = {"stdout": "1", "stderr": "1", **query}
            async with self._engine.stream("GET", self._path, asked) as pieces:
                async for text in _texts(pieces):
                    new, skip = text[skip:], max(0, skip - len(text))
                    if new:
                        os.write(file, new)
                        self._written += len(new)
        finally:
            os.close(file)


_copying: dict[Path, Copying] = {}
"""An event loop forgets a task that nobody holds; and a file has one writer."""


def begin_copying(engine: Engine, container: str, output: Path, begins_at: int) -> Copying:
    """Whoever copies into the file already is given up."""
    if (older := _copying.pop(output, None)) is not None:
        older.give_up()
    made = _copying[output] = Copying(engine, container, output, begins_at)
    made._task.add_done_callback(lambda _: _forget(output, made))
    return made


def _forget(output: Path, copying: Copying) -> None:
    if _copying.get(output) is copying:
        del _copying[output]


async def _texts(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    frames = Frames()
    async for piece in pieces:
        for text in frames.feed(piece):
            yield text
