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


_copying: dict[Path, asyncio.Task[None]] = {}
"""An event loop forgets a task that nobody holds; and a file has one writer."""


def begin_copying(
    engine: Engine, container: str, output: Path, begins_at: int
) -> asyncio.Task[None]:
    """See ``copied``. Whoever copies into the file already is ended."""
    if (older := _copying.pop(output, None)) is not None:
        older.cancel()
    task = asyncio.create_task(
        copied(engine, container, output, begins_at), name=f"output of {container[:12]}"
    )
    _copying[output] = task
    task.add_done_callback(lambda done: _forget(output, done))
    return task


def _forget(output: Path, task: asyncio.Task[None]) -> None:
    if _copying.get(output) is task:
        del _copying[output]


async def copied(engine: Engine, container: str, output: Path, begins_at: int) -> None:
    """Until the container has ended and all is written. ``begins_at``: bytes of the file that are older
    than the container. An engine that goes away is asked again."""
    while True:
        try:
            await _copied(engine, container, output, begins_at)
        except EngineGoneError as exc:
            log.info("the output of a container was interrupted", extra={"why": str(exc)})
            await asyncio.sleep(AGAIN_S)
        except EngineError as exc:
            log.info("the output of a container can't be had", extra={"why": exc.message})
            return
        except OSError as exc:
            log.warning(
                "the output of a task can't be written",
                extra={"file": str(output), "why": str(exc)},
            )
            return
        else:
            return


async def _copied(engine: Engine, container: str, output: Path, begins_at: int) -> None:
    query = {"follow": "1", "stdout": "1", "stderr": "1"}
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        with contextlib.suppress(OSError):  # a pipe, say
            os.ftruncate(file, min(begins_at, os.fstat(file).st_size))
        async with engine.stream("GET", f"/containers/{container}/logs", query) as pieces:
            async for text in _texts(pieces):
                os.write(file, text)
    finally:
        os.close(file)


async def _texts(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    frames = Frames()
    async for piece in pieces:
        for text in frames.feed(piece):
            yield text
