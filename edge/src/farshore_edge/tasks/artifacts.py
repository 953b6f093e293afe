"""Artifacts: files fetched by HTTPS into an instance's folder, there only once their digest is right.

What was interrupted goes on where it ended. The trouble of the network is tried again a few times;
after that it is the supervisor's to come back to it.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import ipaddress
import os
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from farshore_protocol.tasks.spec import Artifact

from farshore_edge import VERSION
from farshore_edge.tasks.drivers.model import DriverError
from farshore_edge.tasks.unpacking import Bounds, UnpackError, unpack

PART = ".artifacts"
"""In the instance's folder: what is on its way, and what was unpacked."""
READ_BYTES = 256 * 1024
SOCKET_S = 30.0
TRIES = 4
PAUSE_S, PAUSE_MAX_S = 0.5, 5.0
FILE_BYTES = 64 * 1024**3
UNPACKED_BYTES = 256 * 1024**3
_TRY_LATER = frozenset({408, 425, 429})


class Trouble(Exception):
    """Of the network, or of the server: it may be over soon."""


class Given(Exception):  # nobody's error
    """The fetch was given up by whoever asked for it."""


class HostArtifacts:
    """``file_bytes``, ``unpacked_bytes``: of one artifact."""

    def __init__(
        self,
        *,
        file_bytes: int = FILE_BYTES,
        unpacked_bytes: int = UNPACKED_BYTES,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._file_bytes = file_bytes
        self._unpacked_bytes = unpacked_bytes
        self._pause_s = pause_s

    async def fetch(self, artifacts: tuple[Artifact, ...], folder: Path) -> None:
        """One after the other. What is there is not fetched again. Raises DriverError."""
        for artifact in artifacts:
            stop = threading.Event()
            try:
                await asyncio.to_thread(self._have_alone, artifact, folder, stop)
            except asyncio.CancelledError:
                stop.set()  # the thread ends at its next piece
                raise
            except OSError as exc:
                message = f"{artifact.path}: {exc.filename or folder}: {exc.strerror or exc}"
                raise DriverError("io_error", message) from exc
            except UnpackError as exc:
                message = f"{artifact.url}: {exc}"
                raise DriverError("bad_archive", message, permanent=True) from exc

    def _have_alone(self, artifact: Artifact, folder: Path, stop: threading.Event) -> None:
        """A fetch that was given up may still be at its last piece."""
        (folder / PART).mkdir(parents=True, exist_ok=True)
        with (folder / PART / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._have(artifact, folder, stop)

    def _have(self, artifact: Artifact, folder: Path, stop: threading.Event) -> None:
        target = inside(folder, artifact.path)
        digest = artifact.digest.removeprefix("sha256:")
        mark = folder / PART / f"{digest}-{hashlib.sha256(artifact.path.encode()).hexdigest()[:12]}"
        if artifact.unpack:
            if mark.exists() and target.exists():
                return
        elif target.is_file() and _digest(target, stop) == digest:
            _set_mode(target, artifact)
            return
        part = folder / PART / f"{digest}.part"
        self._fetched(artifact, part, digest, stop)
        target.parent.mkdir(parents=True, exist_ok=True)
        if artifact.unpack:
            self._unpacked(part, target, mark)
        else:
            if target.is_dir():
                raise DriverError(
                    "bad_path", f"{artifact.path}: a directory is there", permanent=True
                )
            _set_mode(part, artifact)
            os.replace(part, target)

    def _unpacked(self, part: Path, target: Path, mark: Path) -> None:
        """Into a new directory, which then takes its place."""
        staged = part.with_suffix(".new")
        shutil.rmtree(staged, ignore_errors=True)
        mark.unlink(missing_ok=True)
        try:
            unpack(part, staged, Bounds(bytes=self._unpacked_bytes))
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
            os.replace(staged, target)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        mark.touch()
        part.unlink()

    def _fetched(self, artifact: Artifact, part: Path, digest: str, stop: threading.Event) -> None:
        """``part`` is whole, with the right digest."""
        from tenacity import (  # costs an agent without artifacts nothing
            Retrying,
            retry_if_exception_type,
            stop_after_attempt,
            wait_random_exponential,
        )

        check_url(artifact.url)
        again = Retrying(
            retry=retry_if_exception_type(Trouble),
            stop=stop_after_attempt(TRIES),
            wait=wait_random_exponential(multiplier=self._pause_s, max=PAUSE_MAX_S),
            sleep=lambda seconds: _pause(stop, seconds),
            reraise=True,
        )
        for begun_before in (part.exists(), False):
            try:
                again(self._transfer, artifact.url, part, stop)
            except Trouble as exc:
                message = f"{artifact.url}: {exc} (tried {TRIES} times)"
                raise DriverError("unreachable", message) from exc
            found = _digest(part, stop)
            if found == digest:
                return
            part.unlink()
            if begun_before:  # its beginning may be of another file that was there then
                continue
            message = f"{artifact.url}: its digest is sha256:{found}, expected sha256:{digest}"
            raise DriverError("bad_digest", message, permanent=True)

    def _transfer(self, url: str, part: Path, stop: threading.Event) -> None:
        have = part.stat().st_size if part.exists() else 0
        try:
            with _opened(url, have) as answer:
                if answer.status != 206 or not _continues(answer, have):
                    have = 0
                self._check_size(url, have, answer, part)
                with part.open("r+b" if have else "wb") as file:
                    file.seek(have)
                    self._copy(url, answer, file.write, have, stop)
        except urllib.error.HTTPError as exc:
            with exc:
                _refused(url, exc.code, exc.reason, part)
        except urllib.error.URLError as exc:
            raise Trouble(str(exc.reason)) from exc
        except (HTTPException, TimeoutError, ConnectionError) as exc:
            raise Trouble(str(exc) or type(exc).__name__) from exc

    def _copy(
        self,
        url: str,
        answer: HTTPResponse,
        write: Callable[[bytes], object],
        have: int,
        stop: threading.Event,
    ) -> None:
        while data := answer.read(READ_BYTES):
            if stop.is_set():
                raise Given
            have += len(data)
            if have > self._file_bytes:
                raise _too_large(url, self._file_bytes)
            write(data)
        if answer.length:
            raise Trouble(f"the connection ended {answer.length} bytes too early")

    def _check_size(self, url: str, have: int, answer: HTTPResponse, part: Path) -> None:
        if answer.length is None:
            return
        if have + answer.length > self._file_bytes:
            raise _too_large(url, self._file_bytes)
        free = shutil.disk_usage(part.parent).free
        if answer.length > free:
            message = f"{url}: {answer.length} bytes are to come, {free} are free on the disk"
            raise DriverError("no_space", message)


def inside(folder: Path, path: str) -> Path:
    """Where an artifact comes to lie. Raises DriverError for a path that leads out of the folder, by its
    words or by a link that a task has laid."""
    parts = Path(path).parts
    target = folder / path
    leads_out = path.startswith("/") or ".." in parts or not parts or parts[0] == PART
    if leads_out or not target.parent.resolve().is_relative_to(folder.resolve()):
        message = f"artifact path {path}: expected one that stays in the task's folder"
        raise DriverError("bad_path", message, permanent=True)
    return target


def check_url(url: str) -> None:
    """HTTPS, or HTTP to this machine itself. Raises DriverError."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and _loopback(parts.hostname or ""):
        return
    message = f"{url}: expected https:// (http:// only to 127.0.0.1, ::1 and localhost)"
    raise DriverError("bad_url", message, permanent=True)


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """No redirection may lead to what could not be asked for."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        try:
            check_url(newurl)
        except DriverError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opened(url: str, have: int) -> HTTPResponse:
    headers = {"User-Agent": f"farshore/{VERSION}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 # check_url has looked at it
    opener = urllib.request.build_opener(_SafeRedirects)
    answer: HTTPResponse = opener.open(request, timeout=SOCKET_S)
    return answer


def _continues(answer: HTTPResponse, have: int) -> bool:
    return answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _refused(url: str, status: int, reason: str, part: Path) -> None:
    """Raises what a status above 300 means."""
    if status == 416:  # it has become shorter than what we have of it
        part.unlink(missing_ok=True)
        raise Trouble("the server has less of it than was fetched already; from the beginning")
    if status >= 500 or status in _TRY_LATER:
        raise Trouble(f"status {status} {reason}")
    raise DriverError("no_artifact", f"{url}: status {status} {reason}", permanent=True)


def _too_large(url: str, most: int) -> DriverError:
    return DriverError("too_large", f"{url}: more than {most} bytes", permanent=True)


def _digest(file: Path, stop: threading.Event) -> str:
    found = hashlib.sha256()
    with file.open("rb") as data:
        while piece := data.read(READ_BYTES):
            if stop.is_set():
                raise Given
            found.update(piece)
    return found.hexdigest()


def _set_mode(file: Path, artifact: Artifact) -> None:
    file.chmod(0o755 if artifact.executable else 0o644)


def _pause(stop: threading.Event, seconds: float) -> None:
    if stop.wait(seconds):
        raise Given
