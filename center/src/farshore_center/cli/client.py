"""The center's REST interface as the command line uses it.

One client per invocation. A GET that found no connection is tried again shortly; nothing else is.
Every way of failing becomes one of ``errors``: what the center refused, or that none was reached.
"""

import json
import random
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from farshore_protocol.clock import Clock
from farshore_protocol.ids import Ids
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random

from farshore_center.cli.cells import clean
from farshore_center.cli.errors import BadUsageError, RefusedError, UnreachableError
from farshore_center.cli.sse import EventDecoder

Document = dict[str, Any]
Params = Mapping[str, Any]

PREFIX = "/api/v1"
ATTEMPTS = 3
PAGE = 500
_TIMEOUT = httpx.Timeout(10, connect=3)
_SILENCE_S = 60
"""A live stream that is silent for longer, keep-alives included, is taken for dead."""
_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_PLACE = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_GATEWAY_ERRORS = frozenset({502, 503, 504})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@asynccontextmanager
async def connect(url: str, clock: Clock) -> AsyncIterator["CenterClient"]:
    parts = urlsplit(url)
    async with httpx.AsyncClient(
        base_url=url + PREFIX,
        timeout=_TIMEOUT,
        # Certificates take a tenth of a second to load; plain HTTP has no use for them.
        verify=parts.scheme == "https",
        # A proxy from the environment can't reach this machine's own loopback.
        trust_env=parts.hostname not in _LOOPBACK,
        headers={"User-Agent": "farshore"},
    ) as http:
        yield CenterClient(http, clock=clock, ids=Ids(random.SystemRandom()))


def segment(name: str) -> str:
    """A node's name or a command's id as one segment of a path; what can be neither is bad usage."""
    if not _SEGMENT.fullmatch(name):
        raise BadUsageError(f"{clean(name)!r} is no name: expected letters, digits, '_', '-', '.'")
    return name


def place(path: str) -> str:
    """A group's path as segments of an address."""
    if not _PLACE.fullmatch(path):
        raise BadUsageError(f"{clean(path)!r} is no group's path: expected for example eu/hamburg")
    return path


class CenterClient:
    def __init__(self, http: httpx.AsyncClient, *, clock: Clock, ids: Ids) -> None:
        self._http = http
        self._clock = clock
        self._ids = ids
        self._ahead_ms = 0

    def now_ms(self) -> int:
        """The center's time, as of its last answer: ages hold even where our own clock is wrong."""
        return self._clock.now_ms() + self._ahead_ms

    async def get(self, path: str, params: Params | None = None) -> Document:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(UnreachableError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random(0.05, 0.3),
            reraise=True,
        ):
            with attempt:
                return await self._ask("GET", path, params=_without_none(params))
        raise AssertionError("the last attempt raises")

    async def tagged(self, path: str) -> tuple[Document, str | None]:
        """A document with its ETag, for a change that must not overwrite another."""
        response = await self._send("GET", path)
        return self._document(response), response.headers.get("etag")

    async def change(
        self,
        method: str,
        path: str,
        body: Document | None = None,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Document:
        """PUT, PATCH or DELETE; an answer without content is an empty document."""
        response = await self._send(
            method, path, json=body, params=_without_none(params), headers=headers or {}
        )
        return {} if response.status_code == 204 else self._document(response)

    async def items(
        self, path: str, params: Params | None = None, at_most: int | None = None
    ) -> list[Document]:
        """A whole list, page by page, or its first ``at_most`` items."""
        found: list[Document] = []
        cursor: str | None = None
        while True:
            limit = PAGE if at_most is None else min(PAGE, at_most - len(found))
            page = await self.get(path, {**(params or {}), "limit": limit, "cursor": cursor})
            found.extend(page["items"])
            cursor = page.get("next")
            if not cursor or (at_most is not None and len(found) >= at_most):
                return found[:at_most]

    async def post(
        self,
        path: str,
        body: Document | None = None,
        params: Params | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Document:
        key = self._ids.command(self._clock.now_ms())
        return await self._ask(
            "POST",
            path,
            json=body,
            params=_without_none(params),
            headers={"Idempotency-Key": key, **(headers or {})},
        )

    @asynccontextmanager
    async def subscribe(
        self, params: Params, after: int | None = None, path: str = "/events"
    ) -> AsyncIterator[AsyncIterator[list[Document]]]:
        """Live events, as they come in; an empty list is a sign of life without one.

        The first sign of life says that the subscription is in force: an answer's head alone does
        not. The iterator ends with the stream.
        """
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        timeout = httpx.Timeout(_TIMEOUT.connect, read=_SILENCE_S)
        try:
            async with self._http.stream(
                "GET", path, params=_without_none(params), headers=headers, timeout=timeout
            ) as response:
                if response.is_error:
                    await response.aread()
                self._check(response)
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    raise UnreachableError(f"{self._where} sends no events: it is no center")
                response.encoding = "utf-8"
                yield _events(response)
        except httpx.TransportError as exc:
            raise self._unreachable(exc) from exc

    async def _ask(self, method: str, path: str, **more: Any) -> Document:
        return self._document(await self._send(method, path, **more))

    async def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            headers = {"Accept": "application/json", **more.pop("headers", {})}
            response = await self._http.request(method, path, headers=headers, **more)
        except httpx.TransportError as exc:
            raise self._unreachable(exc) from exc
        self._check(response)
        return response

    def _document(self, response: httpx.Response) -> Document:
        document = _json(response)
        if document is None:
            raise UnreachableError(f"what answers at {self._where} is no Farshore center")
        return document

    def _check(self, response: httpx.Response) -> None:
        self._read_date(response.headers.get("date"))
        if response.is_success:
            return
        document = _json(response) if response.is_closed else None
        # The center explains each of its own 404s; a bare one is somebody else's.
        stranger = response.status_code == 404 and not _is_problem(response)
        if response.is_redirect or stranger:
            raise UnreachableError(f"what answers at {self._where} is no Farshore center")
        if response.status_code in _GATEWAY_ERRORS:
            why = (document or {}).get("detail") or response.reason_phrase
            raise UnreachableError(
                f"the center at {self._where} does not serve now: {response.status_code} {why}"
            )
        raise RefusedError(response.status_code, document or {"title": response.reason_phrase})

    def _read_date(self, header: str | None) -> None:
        try:
            date = parsedate_to_datetime(header) if header else None
        except ValueError:
            return
        if date is not None:
            ahead_ms = round(date.timestamp() * 1000) - self._clock.now_ms()
            # The header counts whole seconds: below two the clocks agree.
            self._ahead_ms = ahead_ms if abs(ahead_ms) > 2000 else 0

    @property
    def _where(self) -> str:
        """The address without a password that may be in it."""
        url = self._http.base_url
        return f"{url.scheme}://{url.netloc.decode()}"

    def _unreachable(self, exc: httpx.TransportError) -> UnreachableError:
        why = str(exc) or type(exc).__name__
        return UnreachableError(f"the center at {self._where} can't be reached: {why}")


async def _events(response: httpx.Response) -> AsyncIterator[list[Document]]:
    decoder = EventDecoder()
    async for text in response.aiter_text():
        documents = [json.loads(event.data) for event in decoder.feed(text)]
        yield [document for document in documents if isinstance(document, dict)]


def _is_problem(response: httpx.Response) -> bool:
    return bool(response.headers.get("content-type", "").startswith("application/problem+json"))


def _json(response: httpx.Response) -> Document | None:
    try:
        document = response.json()
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _without_none(params: Params | None) -> Document:
    return {key: value for key, value in (params or {}).items() if value is not None}
