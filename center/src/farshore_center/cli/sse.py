"""Server-sent events out of a stream of text, in pieces of any size. Pure: no socket.

Written out here rather than with ``splitlines``: a line ends at CR, LF or CRLF alone, and the texts
of nodes may hold the other characters that Python takes for line ends.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSentEvent:
    id: str | None
    event: str
    data: str


class EventDecoder:
    """Feed it text, get whole events; comments (keep-alives) vanish."""

    def __init__(self) -> None:
        self._line = ""
        self._after_cr = False
        self._id: str | None = None
        self._event = ""
        self._data: list[str] = []

    def feed(self, text: str) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        if self._after_cr and text:
            self._after_cr = False
            text = text.removeprefix("\n")
        if text.endswith("\r"):
            self._after_cr = True
        *lines, self._line = (
            (self._line + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        )
        for line in lines:
            event = self._take(line)
            if event is not None:
                events.append(event)
        return events

    def _take(self, line: str) -> ServerSentEvent | None:
        if line == "":
            return self._finish()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        return None

    def _finish(self) -> ServerSentEvent | None:
        event, data = self._event, self._data
        self._event, self._data = "", []
        if not data:
            return None
        return ServerSentEvent(id=self._id, event=event or "message", data="\n".join(data))
