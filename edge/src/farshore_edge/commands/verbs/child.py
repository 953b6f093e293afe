"""A child process on the event loop: its pipes, and its end. It decides nothing, and ends nobody.

asyncio's own subprocesses cost an agent more than most programs that it runs: with Python 3.11 a
thread for each of them, a transport and a task for each pipe, and a dozen turns of the loop. Here a
descriptor of the process (pidfd) says when it ends; where the kernel has none, a thread waits for it.
"""

import asyncio
import contextlib
import os
import subprocess
import threading
from collections.abc import Callable
from typing import IO

READ_BYTES = 64 * 1024


class Ear(asyncio.ReadTransport):
    """Reads a pipe into a ``StreamReader``, which pauses it while too much waits there."""

    def __init__(self, pipe: IO[bytes], into: asyncio.StreamReader) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._pipe = pipe
        self._fd = pipe.fileno()
        self._into = into
        os.set_blocking(self._fd, False)
        into.set_transport(self)
        self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self._into.feed_data(data)
        else:
            self.close()

    def pause_reading(self) -> None:
        if not self._pipe.closed:
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        if not self._pipe.closed:
            self._loop.add_reader(self._fd, self._readable)

    def is_closing(self) -> bool:
        return self._pipe.closed

    def close(self) -> None:
        """Whoever else holds the pipe writes into the void."""
        if not self._pipe.closed:
            self._loop.remove_reader(self._fd)
            self._pipe.close()
            self._into.feed_eof()


class Mouth:
    """Writes into a pipe what the process need not read, and then the end."""

    def __init__(self, pipe: IO[bytes], data: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self._pipe = pipe
        self._fd = pipe.fileno()
        self._left = memoryview(data)
        os.set_blocking(self._fd, False)
        self._loop.add_writer(self._fd, self._writable)
        self._writable()

    def _writable(self) -> None:
        try:
            while self._left:
                self._left = self._left[os.write(self._fd, self._left) :]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # nobody reads it any more
            pass
        self.close()

    def close(self) -> None:
        if not self._pipe.closed:
            self._loop.remove_writer(self._fd)
            self._pipe.close()


def when_ended(process: subprocess.Popen[bytes], call: Callable[[], None]) -> None:
    """Calls ``call`` from the loop once the process has ended and its exit code is known."""
    loop = asyncio.get_running_loop()
    try:
        handle = os.pidfd_open(process.pid)
    except (OSError, AttributeError):  # an old kernel, a sandbox, a Python built without it
        _in_a_thread(loop, process, call)
        return

    def ended() -> None:
        loop.remove_reader(handle)
        os.close(handle)
        process.wait()
        call()

    loop.add_reader(handle, ended)


def _in_a_thread(
    loop: asyncio.AbstractEventLoop, process: subprocess.Popen[bytes], call: Callable[[], None]
) -> None:
    def wait() -> None:
        process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(call)

    threading.Thread(target=wait, name=f"waits for {process.pid}", daemon=True).start()
