"""The HTTP API of a container engine over its unix socket: Docker's, which Podman speaks as well.

h11 reads and writes HTTP; a connection serves one request. Nothing here knows what a task is.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import h11

VERSION = (1, 44)
"""Of the API, the newest whose answers are known here; an older engine is asked in its own."""
ANSWER_S = 60.0
READ_BYTES = 64 * 1024
ANSWER_BYTES = 16 * 1024 * 1024


class EngineError(Exception):
    """The engine refused; ``status`` of its answer, its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class EngineGoneError(Exception):
    """The engine can't be reached, or went away in the middle of an answer."""


Query = Mapping[str, str]


class Engine:
    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._version: str | None = None

    async def greet(self, timeout_s: float) -> None:
        """Whether it is there, and which version of the API is spoken with it. Raises EngineError,
        EngineGoneError."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._negotiated()
        except TimeoutError as exc:
            message = f"{self.socket}: no answer to GET /version within {timeout_s:g} s"
            raise EngineGoneError(message) from exc

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        timeout_s: float | None = ANSWER_S,
    ) -> Any:
        """The answer's JSON, None where it has no body. ``timeout_s`` None: as long as it takes.
        Raises EngineError, EngineGoneError."""
        data = bytearray()
        try:
            async with asyncio.timeout(timeout_s), self.stream(method, path, query, body) as pieces:
                async for piece in pieces:
                    data += piece
                    if len(data) > ANSWER_BYTES:
                        raise EngineGoneError(
                            f"{path}: an answer of more than {ANSWER_BYTES} bytes"
                        )
        except TimeoutError as exc:
            message = f"{self.socket}: no answer to {method} {path} within {timeout_s:g} s"
            raise EngineGoneError(message) from exc
        try:
            return json.loads(data) if data.strip() else None
        except ValueError as exc:
            raise EngineGoneError(f"{self.socket}: {path}: the answer is no JSON") from exc

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, query: Query | None = None, body: Any = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer's body, piece by piece. Raises EngineError, EngineGoneError."""
        version = await self._negotiated()
        async with self._exchange(method, f"/v{version}{path}", query, body) as pieces:
            yield pieces

    async def _negotiated(self) -> str:
        if self._version is None:
            async with self._exchange("GET", "/version", None, None) as pieces:
                told = b"".join([piece async for piece in pieces])
            try:
                theirs = tuple(map(int, str(json.loads(told)["ApiVersion"]).split(".")))
            except (ValueError, KeyError, TypeError) as exc:
                raise EngineGoneError(
                    f"{self.socket}: its version can't be read: {told[:80]!r}"
                ) from exc
            self._version = ".".join(map(str, min(VERSION, theirs)))
        return self._version

    @asynccontextmanager
    async def _exchange(
        self, method: str, path: str, query: Query | None, body: Any
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        target = quote(path, safe="/:@") + (f"?{urlencode(query)}" if query else "")
        content = b"" if body is None else json.dumps(body).encode()
        headers = [("Host", "engine"), ("Connection", "close")]
        if method != "GET":
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        try:
            connection = await _Connection.open(self.socket)
        except OSError as exc:
            raise EngineGoneError(f"{self.socket}: {exc.strerror or exc}") from exc
        try:
            pieces = connection.pieces()
            await connection.send(
                h11.Request(method=method, target=target, headers=headers), content
            )
            status = await connection.status()
            if status >= 400:
                data = b"".join([piece async for piece in pieces])
                raise EngineError(status, _words(data))
            yield pieces
        except (OSError, h11.ProtocolError, asyncio.IncompleteReadError) as exc:
            raise EngineGoneError(f"{self.socket}: {path}: {exc}") from exc
        finally:
            connection.close()


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=READ_BYTES)

    @classmethod
    async def open(cls, socket: Path) -> "_Connection":
        return cls(*await asyncio.open_unix_connection(str(socket)))

    async def send(self, request: h11.Request, content: bytes) -> None:
        events: list[Any] = [request]
        if content:
            events.append(h11.Data(data=content))
        for event in (*events, h11.EndOfMessage()):
            self._writer.write(self._http.send(event) or b"")
        await self._writer.drain()

    async def _next(self) -> Any:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._http.receive_data(await self._reader.read(READ_BYTES))

    async def status(self) -> int:
        event = await self._next()
        while isinstance(event, h11.InformationalResponse):
            event = await self._next()
        if not isinstance(event, h11.Response):
            raise h11.RemoteProtocolError("the connection ended without an answer")
        return event.status_code

    async def pieces(self) -> AsyncIterator[bytes]:
        while isinstance(event := await self._next(), h11.Data):
            yield bytes(event.data)

    def close(self) -> None:
        self._writer.transport.abort()


def _words(data: bytes) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data.decode(errors="replace").strip()[:1000] or "no reason was given"
