"""The last lines of the agent's own log, kept in memory: they can be asked for when no disk can."""

import logging
from collections import deque

LINES_MOST = 2000
LINE_CHARS = 1000


class LogTail(logging.Handler):
    """A handler of the log that keeps its last lines; ``lines`` gives them, the oldest first."""

    def __init__(self, most: int = LINES_MOST) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=most)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:  # a line that can't be written must not end what it tells of
            self.handleError(record)
            return
        # A traceback is a line of its own for each of its lines.
        self._lines.extend(line[:LINE_CHARS] for line in text.splitlines())

    def lines(self) -> list[str]:
        return list(self._lines)
