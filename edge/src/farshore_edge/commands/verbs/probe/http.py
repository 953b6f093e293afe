"""The kind ``http``: one request, how long each step of it took, and until when the certificate is good.

The answer's head is read and its body is not; a redirection is told and not followed.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

from farshore_protocol.commands.catalogue import NetProbeArgs

from farshore_edge import VERSION
from farshore_edge.commands.verbs.probe.certificate import CertificateError, not_after
from farshore_edge.commands.verbs.probe.model import Found, ProbeError, Way, clock_ms, reason
from farshore_edge.commands.verbs.probe.tcp import connected

HEAD_BYTES = 16 * 1024
VALUE_CHARS = 500
_SHOWN = ("server", "location", "content-type", "content-length")


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    host: str
    port: int
    path: str
    tls: bool

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def read_url(text: str) -> Url:
    """Raises ProbeError ``bad_args``."""
    try:
        parts: SplitResult = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise ProbeError("bad_args", f"url: {exc}") from exc
    if not parts.hostname or parts.username is not None or port == 0:
        raise ProbeError("bad_args", "url: expected http(s)://HOST[:PORT]/PATH, and no user")
    tls = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(host=parts.hostname, port=port or (443 if tls else 80), path=path, tls=tls)


async def probe(
    args: NetProbeArgs,
    url: Url,
    way: Way,
    now_ms: Callable[[], int],
    context: Callable[[bool], ssl.SSLContext],
) -> Found:
    """``context``: for TLS, by whether to verify."""
    steps: dict[str, Any] = {"dns_ms": way.lookup_ms, "tls_ms": None}
    began = clock_ms()
    try:
        async with asyncio.timeout(args.wait_s * 2):
            await _exchange(args, url, way, now_ms, context, steps)
    except TimeoutError as exc:
        at = "connecting" if "connect_ms" not in steps else "waiting for the answer"
        message = f"{url.authority}: timed out while {at}"
        raise ProbeError("timed_out", message, {"sent": 1, "http": steps}) from exc
    except ssl.SSLCertVerificationError as exc:
        message = f"{url.authority}: the certificate is not good: {exc.verify_message}"
        raise ProbeError("bad_certificate", message, {"sent": 1, "http": steps}) from exc
    except ssl.SSLError as exc:
        message = f"{url.authority}: TLS failed: {exc.reason or exc}"
        raise ProbeError("no_tls", message, {"sent": 1, "http": steps}) from exc
    except (OSError, asyncio.IncompleteReadError) as exc:
        told = reason(exc) if isinstance(exc, OSError) else "ended without an answer"
        found = {"sent": 1, "http": steps}
        raise ProbeError("no_answer", f"{url.authority}: {told}", found) from exc
    steps["total_ms"] = _since(began)
    return {"sent": 1, "answered": 1, "http": steps}


async def _exchange(
    args: NetProbeArgs,
    url: Url,
    way: Way,
    now_ms: Callable[[], int],
    context: Callable[[bool], ssl.SSLContext],
    steps: dict[str, Any],
) -> None:
    began = clock_ms()
    ours = await connected(way, url.port)
    steps["connect_ms"] = _since(began)
    began = clock_ms()
    try:
        tls = await asyncio.to_thread(context, args.verify) if url.tls else None
        began = clock_ms()
        reader, writer = await asyncio.open_connection(
            sock=ours,
            limit=HEAD_BYTES,
            ssl=tls,
            server_hostname=url.host if tls is not None else None,
        )
    except BaseException:
        ours.close()
        raise
    try:
        if tls is not None:
            steps["tls_ms"] = _since(began)
            steps["certificate"] = _certificate(writer.get_extra_info("ssl_object"), now_ms())
        began = clock_ms()
        writer.write(_request(args.method, url))
        await writer.drain()
        first = await reader.readexactly(1)
        steps["first_byte_ms"] = _since(began)
        steps |= _head(first + await _rest(reader))
    finally:
        writer.transport.abort()


def _request(method: str, url: Url) -> bytes:
    return (
        f"{method} {url.path} HTTP/1.1\r\nHost: {url.authority}\r\nAccept: */*\r\n"
        f"User-Agent: farshore/{VERSION}\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as exc:
        return exc.partial
    except asyncio.LimitOverrunError:
        return await reader.read(HEAD_BYTES)


def _head(data: bytes) -> dict[str, Any]:
    """Raises ProbeError where it is no HTTP."""
    first, _, rest = data.decode("latin-1").partition("\r\n")
    protocol, _, words = first.partition(" ")
    status, _, told = words.partition(" ")
    if not protocol.startswith("HTTP/") or not status.isascii() or not status.isdigit():
        raise ProbeError("no_http", f"what answers there is no HTTP: {first[:80]!r}")
    found: dict[str, Any] = {"status": int(status[:3]), "reason": told[:VALUE_CHARS]}
    for line in rest.split("\r\n"):
        name, colon, value = line.partition(":")
        if colon and name.strip().lower() in _SHOWN:
            found[name.strip().lower().replace("-", "_")] = value.strip()[:VALUE_CHARS]
    return found


def _certificate(tls: ssl.SSLObject, now_ms: int) -> dict[str, Any]:
    cipher = tls.cipher()
    found: dict[str, Any] = {
        "protocol": tls.version(),
        "cipher": cipher[0] if cipher else None,
        "not_after": None,
        "days_left": None,
    }
    with contextlib.suppress(CertificateError):
        ends = not_after(tls.getpeercert(True) or b"")
        left = ends - datetime.fromtimestamp(now_ms / 1000, UTC)
        found |= {
            "not_after": ends.isoformat(),
            "days_left": round(left.total_seconds() / 86_400, 1),
        }
    return found


def tls_context(verify: bool) -> ssl.SSLContext:
    """By the machine's own authorities; it reads files, so call it in a thread."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _since(began_ms: float) -> float:
    return round(clock_ms() - began_ms, 3)
