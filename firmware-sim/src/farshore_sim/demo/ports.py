"""The ports of a demonstration: the well-known ones if they are free, else any. Two demonstrations
that start at once never pick the same.
"""

import contextlib
import socket

from farshore_sim.errors import DemoError
from farshore_sim.ports import hold, number


class ClaimedPort:
    """A port that nobody else gets until ``close``; the program that is to listen there does."""

    def __init__(self, wanted: int) -> None:
        with contextlib.ExitStack() as opened:
            for port in (wanted, 0):
                with contextlib.suppress(OSError):
                    if port:
                        opened.enter_context(_claim(port))
                    self.port = number(opened.enter_context(hold(port)))
                    self._held = opened.pop_all()
                    return
        raise DemoError("no free port on 127.0.0.1")

    def close(self) -> None:
        self._held.close()


def _claim(port: int) -> socket.socket:
    """A name that one process at a time can have, and that goes with it. Raises OSError."""
    claimed = socket.socket(socket.AF_UNIX)
    try:
        claimed.bind(f"\0farshore-demo-port-{port}")
    except OSError:
        claimed.close()
        raise
    return claimed
