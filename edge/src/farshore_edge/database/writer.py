"""A thread that does one piece of work after the other, and that may be waited for briefly.

To be told by the event loop that work is done takes two wake-ups and a turn of the loop, which on a
quick disk is a large part of what a sync takes. So who asked may wait a moment before he leaves the
rest to the loop. It knows nothing of what the work is.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class Work(Generic[T]):
    """``error`` and ``took_s`` are known once it is done."""

    def __init__(self, do: Callable[[], T]) -> None:
        self._do = do
        self._result: T | None = None
        self._done = threading.Lock()
        self._done.acquire()
        self._tell: Callable[[], object] | None = None
        self._told = False
        self.error: BaseException | None = None
        self.took_s = 0.0

    def run(self) -> None:
        """In the thread."""
        began_s = time.perf_counter()
        try:
            self._result = self._do()
        except BaseException as exc:  # whoever asked for it is told
            self.error = exc
        self.took_s = time.perf_counter() - began_s
        self._done.release()
        tell = self._tell
        if tell is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                tell()

    def wait(self, at_most_s: float) -> bool:
        """Whether it was done within that time; the calling thread does nothing else meanwhile."""
        return self._done.acquire(timeout=at_most_s)

    def then(self, loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
        """Calls ``call`` once from the loop when it is done; to be asked for in the loop."""

        def once() -> None:
            if not self._told:
                self._told = True
                call()

        self._tell = lambda: loop.call_soon_threadsafe(once)
        if self._done.acquire(blocking=False):  # it was done before it could tell
            loop.call_soon(once)

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        return self._result  # type: ignore[return-value] # done without an error


class WriterThread:
    """The thread is started with the first work."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[Work[object] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self, do: Callable[[], T]) -> Work[T]:
        """Raises RuntimeError once it is closed."""
        if self._closed:
            raise RuntimeError(f"{self._name} is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        work = Work(do)
        self._queue.put(work)  # type: ignore[arg-type] # the thread does not look at the result
        return work

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            work.run()
            del work  # nothing is held while there is nothing to do

    def close(self) -> None:
        """After what was started is done."""
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
