"""The center's REST interface for a process that has the standard library alone.

One connection that is kept, and live events on one of their own. A request is tried again only
while no answer came, and a POST then carries the same ``Idempotency-Key``: nothing is made twice.
"""

import base64
import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from farshore_center.ansible.errors import AwayError, RefusedError

Document = dict[str, Any]

PREFIX = "/api/v1"
TIMEOUT_S = 20.0
PATIENCE_S = 30.0
"""How long a center that does not answer is tried again."""
SILENCE_S = 60.0
"""Live events that are silent for longer, keep-alives included, are taken for dead."""
_PAUSE_S = 0.5
_GATEWAY_ERRORS = frozenset({502, 503, 504})
_MAX_LINE = 1 << 20


class Center:
    def __init__(
        self,
        url: str,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        patience_s: float = PATIENCE_S,
    ) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as exc:
            raise AwayError(f"{url!r} is no address of a center: {exc}") from exc
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise AwayError(f"{url!r} is no address of a center, expected http://HOST[:PORT]")
        self._host, self._port, self._secure = parts.hostname, port, parts.scheme == "https"
        self._where = f"{parts.scheme}://{parts.hostname}" + (f":{port}" if port else "")
        self._path = parts.path.rstrip("/") + PREFIX
        self._headers = {"User-Agent": "farshore-ansible"}
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        self._url = url
        self._monotonic_s = monotonic_s
        self._pause = pause
        self._patience_s = patience_s
        self._kept: http.client.HTTPConnection | None = None

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Document:
        return self._patiently("GET", _address(self._path + path, params), None, {})

    def get_now(self, path: str) -> Document:
        """Without patience; for who comes again anyway."""
        return self._ask("GET", self._path + path, None, {})

    def post(self, path: str, body: Document, key: str) -> Document:
        """``key``: the Idempotency-Key, one for each thing that is to be made."""
        payload = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        return self._patiently("POST", self._path + path, payload, headers)

    def items(self, path: str, params: Mapping[str, Any] | None = None) -> list[Document]:
        """A whole list, page by page."""
        found: list[Document] = []
        cursor: str | None = None
        while True:
            page = self.get(path, {**(params or {}), "limit": 500, "cursor": cursor})
            found.extend(page["items"])
            cursor = page.get("next")
            if not cursor:
                return found

    def another(self) -> "Center":
        """The same for another thread: a connection belongs to one."""
        return Center(self._url, monotonic_s=self._monotonic_s, pause=self._pause)

    def close(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def _patiently(
        self, method: str, address: str, payload: bytes | None, headers: Mapping[str, str]
    ) -> Document:
        give_up_s = self._monotonic_s() + self._patience_s
        while True:
            try:
                return self._ask(method, address, payload, headers)
            except AwayError:
                self.close()
                if self._monotonic_s() >= give_up_s:
                    raise
            self._pause(_PAUSE_S)

    def _ask(
        self, method: str, address: str, payload: bytes | None, headers: Mapping[str, str]
    ) -> Document:
        fresh = self._kept is None
        try:
            if self._kept is None:
                self._kept = self._connection(TIMEOUT_S)
            self._kept.request(method, address, payload, {**self._headers, **headers})
            response = self._kept.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as exc:
            self.close()
            if not fresh:  # the center had closed what we kept; that says nothing about it
                return self._ask(method, address, payload, headers)
            raise AwayError(f"the center at {self._where} can't be reached: {_why(exc)}") from exc
        return self._read(response.status, response.reason, content)

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout_s, context=context
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _read(self, status: int, reason: str, content: bytes) -> Document:
        document = _document(content)
        if 200 <= status < 300 and document is not None:
            return document
        if status in _GATEWAY_ERRORS:
            why = (document or {}).get("detail") or reason
            raise AwayError(f"the center at {self._where} does not serve now: {status} {why}")
        if document is None:
            raise RefusedError(status, f"what answers at {self._where} is no Farshore center")
        raise _refused(status, document)

    def events(
        self, params: Mapping[str, Any], opened: Callable[[socket.socket], None]
    ) -> Iterator[Document | None]:
        """Live events until the stream ends; None is a sign of life without one.

        The first sign of life says that the subscription is in force. ``opened`` gets the socket:
        who wants to end the iterator from another thread shuts it down.
        """
        connection: http.client.HTTPConnection | None = None
        try:
            connection = self._connection(SILENCE_S)
            opened(connection.sock)
            headers = {**self._headers, "Accept": "text/event-stream"}
            connection.request("GET", _address(f"{self._path}/events", params), None, headers)
            response = connection.getresponse()
            kind = response.headers.get("Content-Type", "")
            if response.status != 200 or not kind.startswith("text/event-stream"):
                raise AwayError(f"the center at {self._where} sends no events: {response.status}")
            while line := response.readline(_MAX_LINE):
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
                elif line.startswith(b":"):
                    yield None
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise AwayError(f"live events of {self._where} broke off: {_why(exc)}") from exc
        finally:
            if connection is not None:
                connection.close()


def _address(path: str, params: Mapping[str, Any] | None) -> str:
    given = {name: value for name, value in (params or {}).items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _document(content: bytes) -> Document | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _why(exc: Exception) -> str:
    return str(exc) or type(exc).__name__


def _refused(status: int, document: Mapping[str, Any]) -> RefusedError:
    title = document.get("title") or "the center refused"
    detail = document.get("detail")
    text = f"{title} ({status})" + (f": {detail}" if detail else "")
    wrong = [error for error in document.get("errors") or () if isinstance(error, Mapping)]
    text += "".join(f"; {error.get('field')}: {error.get('detail')}" for error in wrong)
    return RefusedError(status, text, frozenset(str(error.get("field")) for error in wrong))
