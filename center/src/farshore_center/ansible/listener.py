"""Live events of one node, read by a thread of their own and handed over in a queue."""

import socket
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

from farshore_center.ansible.errors import AwayError
from farshore_center.ansible.rest import Center

AGAIN_S = 1.0

LOOK: Final = None
"""In place of an event: the subscription is new, so look at what was before it."""


class Listener:
    def __init__(self, center: Center, node: str) -> None:
        self._center = center
        self._params = {"node": node, "kind": "command.target"}
        self._queue: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._socket: socket.socket | None = None
        self._closing = threading.Event()
        self.subscribed = False
        self._thread = threading.Thread(target=self._run, name="farshore events", daemon=True)
        self._thread.start()

    def next(self, within_s: float) -> dict[str, Any] | None:
        """An event, or LOOK; raises queue.Empty when neither came."""
        return self._queue.get(timeout=max(within_s, 0.0))

    def drain(self) -> None:
        """Forgets the events that nobody waits for."""
        with suppress(Empty):
            while True:
                self._queue.get_nowait()

    def close(self) -> None:
        self._closing.set()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        while not self._closing.is_set():
            with suppress(AwayError):
                for event in self._center.events(self._params, self._opened):
                    if not self.subscribed:
                        self.subscribed = True
                        self._queue.put(LOOK)
                    if event is not None:
                        self._queue.put(event)
            self.subscribed = False
            self._closing.wait(AGAIN_S)

    def _opened(self, opened: socket.socket) -> None:
        self._socket = opened
        if self._closing.is_set():
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
