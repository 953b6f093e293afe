"""Programs and files at one node, over Farshore's commands.

A command's id comes from its ``Idempotency-Key``, made here before it is sent: however often a
request has to be repeated, the center makes one command, and a node runs an id once. It waits for
live events; where they fail it asks.
"""

import hashlib
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from queue import Empty
from typing import Any

from farshore_center.ansible import script
from farshore_center.ansible.ending import Target
from farshore_center.ansible.errors import (
    AwayError,
    NotReachedError,
    NotRunError,
    OutputCutError,
    RefusedError,
)
from farshore_center.ansible.listener import Listener
from farshore_center.ansible.rest import Center

AT_ONCE = 6
"""Pieces under way; a node runs 8 commands at once unless it is told otherwise."""
NET_S = 5.0
"""How often the record is looked at beside live events …"""
ASK_FIRST_S, ASK_MOST_S = 0.05, 1.0
"""… and without them."""
MARGIN_S = 30.0
"""Beyond ttl and timeout: for what was done and can't be said yet."""
AWAY_S = 60.0
MISSING_OUTPUT_S = 15.0
FETCH_BYTES, FETCH_LEAST_BYTES = 160 * 1024, 5 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int
    stdout: bytes
    stderr: bytes


class Node:
    """``ttl_s``: how long an absent node is waited for; ``timeout_s``: how long a program may run.

    ``known``: a folder in which a run remembers what it has sent to which node.
    """

    def __init__(
        self,
        center: Center,
        name: str,
        *,
        ttl_s: float,
        timeout_s: float,
        folder: str,
        known: Path | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        new_key: Callable[[], str] = lambda: f"ansible-{uuid.uuid4().hex}",
    ) -> None:
        self._center = center
        self._name = name
        self._ttl_s = ttl_s
        self._timeout_s = timeout_s
        self._folder = folder
        self._known = known
        self._monotonic_s = monotonic_s
        self._pause = pause
        self._new_key = new_key
        self._listener: Listener | None = None
        self._targets: dict[str, Target] = {}
        self._away_since_s: float | None = None

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._center.close()

    # Programs

    def run(self, cmd: str, stdin: bytes | None = None) -> Ended:
        """A shell command to its end. Raises one of ``errors`` where there is no exit code."""
        try:
            call = script.call(cmd, stdin, self._folder)
        except (script.TooLongError, UnicodeEncodeError) as exc:
            raise NotRunError(f"the command can't be sent: {exc}") from exc
        for blob in call.blobs:
            if not self._sent_before(blob.digest):
                self._send_blob(blob)
        kind, ended = self._ended(self._give(call.args))
        if kind == script.MISSING:  # the node has lost it, and so nothing was run
            for blob in call.blobs:
                self._send_blob(blob)
            kind, ended = self._ended(self._give(call.args))
        if kind == script.MISSING:
            raise NotRunError(f"{self._name} loses what is put into {self._folder}; nothing ran")
        if kind == script.PLAIN and "\N{REPLACEMENT CHARACTER}".encode() in ended.stdout:
            raise NotRunError(
                f"{self._name} ran it (exit code {ended.code}), but its output is no text, and "
                "without gzip and base64 a node can only send text"
            )
        return ended

    def _ended(self, target: Target) -> tuple[str, Ended]:
        """Waits for the end, and then for output that is still under way."""
        self._await_end(target)
        why = target.why_not_run(self._name)
        if why is not None:
            raise self._explained(why)
        deadline_s = self._monotonic_s() + MISSING_OUTPUT_S
        pause_s = 0.0
        while True:
            out, err = target.text("stdout"), target.text("stderr")
            kind, stdout = ("", None) if out is None else script.unpacked(out)
            if stdout is not None and err is not None and kind:
                code = target.exit_code()
                return kind, Ended(code=code, stdout=stdout, stderr=err.encode())
            if self._monotonic_s() >= deadline_s:
                raise NotRunError(self._incomplete(target))
            self._pause(pause_s)
            pause_s = min(pause_s * 2 + 0.02, 1.0)
            self._look(target)

    def _incomplete(self, target: Target) -> str:
        said = (target.text("stderr") or "").strip()
        return (
            f"{self._name} ran it (exit code {target.exit_code()}), but its output can't be put "
            f"together{': ' + said if said else ''}; see: farshore command {target.id}"
        )

    def _give(self, args: dict[str, Any]) -> Target:
        listener = self._listening()
        if not self._targets:
            listener.drain()
        body = {
            "node": self._name,
            "verb": "exec",
            "args": args,
            "ttl_s": self._ttl_s,
            "timeout_s": self._timeout_s,
        }
        try:
            made = self._center.post("/commands", body, self._new_key())
        except AwayError as exc:
            raise NotReachedError(str(exc)) from exc
        except RefusedError as exc:
            # The answer to a node that does not exist names the field.
            nowhere = exc.fields & {"node", "nodes"} or exc.status == 404
            raise (NotReachedError if nowhere else NotRunError)(str(exc)) from exc
        target = Target(id=str(made["id"]))
        target.absorb(made["targets"][0])
        self._targets[target.id] = target
        return target

    def _listening(self) -> Listener:
        if self._listener is None:
            self._listener = Listener(self._center.another(), self._name)
        return self._listener

    def _await_end(self, target: Target) -> None:
        listener = self._listening()
        given_s = self._monotonic_s()
        pause_s = ASK_FIRST_S
        try:
            while not target.final:
                left_s = given_s + self._patience_s(target) - self._monotonic_s()
                if left_s <= 0:
                    raise NotReachedError(self._given_up(target))
                wait_s = NET_S if listener.subscribed else pause_s
                try:
                    event = listener.next(min(wait_s, left_s))
                except Empty:
                    event = None
                    pause_s = min(pause_s * 2, ASK_MOST_S)
                if event is None:
                    for each in list(self._targets.values()):
                        self._look(each)
                elif (found := self._targets.get(str(event.get("command")))) is not None:
                    found.absorb(event["data"])
        finally:
            self._targets.pop(target.id, None)

    def _patience_s(self, target: Target) -> float:
        return self._ttl_s + MARGIN_S + (self._timeout_s if target.taken else 0.0)

    def _given_up(self, target: Target) -> str:
        return (
            f"nothing was heard of the command at {self._name} within "
            f"{self._patience_s(target):.0f} s; it may have run: farshore command {target.id}"
        )

    def _look(self, target: Target) -> None:
        """At the record; a center that is away is waited for, it may only restart."""
        try:
            record = self._center.get_now(f"/commands/{target.id}")
        except AwayError as exc:
            now_s = self._monotonic_s()
            self._away_since_s = self._away_since_s or now_s
            if now_s - self._away_since_s > AWAY_S:
                text = f"{exc}; the command {target.id} may run all the same"
                raise NotReachedError(text) from exc
            return
        except RefusedError as exc:
            raise NotReachedError(str(exc)) from exc
        self._away_since_s = None
        target.absorb(record["targets"][0])

    def _explained(self, why: Exception) -> Exception:
        """With what the center knows about a node that did not answer."""
        if not isinstance(why, NotReachedError):
            return why
        try:
            node = self._center.get(f"/nodes/{self._name}")
        except (AwayError, RefusedError):
            return why
        seen = f", last seen {node['last_seen']}" if node.get("last_seen") else ""
        return NotReachedError(f"{why} (it is {node['state']}{seen}; ttl {self._ttl_s:g} s)")

    # Files

    def put(self, source: Path, out: str) -> None:
        """A file of any length; what a broken transfer has left at the node is not sent again."""
        if source.stat().st_size <= script.BLOB_BYTES * 8:
            cmd, stdin = script.put(out, source.read_bytes())
            self._done(self.run(cmd, stdin), f"writing {out}")
            return
        with source.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            self._send(data, script.sha256(data), out)

    def fetch(self, path: str, out: Path) -> None:
        """A file of any length; what a broken transfer has left beside ``out`` is used."""
        length = FETCH_BYTES
        while True:
            try:
                self._fetch(path, out, length)
                return
            except OutputCutError:
                if length // 2 < FETCH_LEAST_BYTES:
                    raise
                length //= 2

    def _fetch(self, path: str, out: Path, length: int) -> None:
        first = self._done(self.run(script.look(path, length)), f"reading {path}")
        size_line, digest_line, start = first.split(b"\n", 2)
        size, digest = int(size_line), digest_line.decode()
        part = out.with_name(f"{out.name}.{digest[:16]}.part")
        kept = part.stat().st_size // length * length if part.exists() else 0
        with part.open("ab") as file:
            file.truncate(kept)
            if not kept:
                file.write(start)
                kept = length
            numbers = iter(range(kept // length, -(-size // length)))
            for portion in self._read_on(path, length, numbers):
                file.write(portion)
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            part.unlink()
            raise NotRunError(f"reading {path}: the file changed while it was read; try again")
        os.replace(part, out)

    def _read_on(self, path: str, length: int, numbers: Iterator[int]) -> Iterator[bytes]:
        """Portions in their order, a few of them under way at a time."""
        under_way: deque[Target] = deque()
        while True:
            while len(under_way) < AT_ONCE // 2:
                number = next(numbers, None)
                if number is None:
                    break
                cmd = script.read_on(path, length, number)
                under_way.append(self._give(script.call(cmd, None, self._folder).args))
            if not under_way:
                return
            yield self._done(self._ended(under_way.popleft())[1], f"reading {path}")

    def _sent_before(self, digest: str) -> bool:
        return self._known is not None and (self._known / self._mark(digest)).exists()

    def _mark(self, digest: str) -> str:
        return f"farshore-{self._name}-{digest}"

    def _send_blob(self, blob: script.Blob) -> None:
        self._send(blob.data, blob.digest)
        if self._known is not None and self._known.is_dir():
            (self._known / self._mark(blob.digest)).touch()

    def _send(self, data: bytes | mmap, digest: str, out: str = "") -> None:
        """In pieces; those that an earlier, broken transfer has left at the node are used.

        Another task may be sending the same at this moment, and take the pieces away: then it is
        sent once more, into a folder of its own.
        """
        try:
            self._send_to(f"{digest}.part", data, digest, out)
        except NotRunError:
            self._send_to(f"{digest}.{self._new_key()}.part", data, digest, out)

    def _send_to(self, part: str, data: bytes | mmap, digest: str, out: str) -> None:
        what = f"writing {out}" if out else f"sending {len(data)} bytes"
        there: set[str] = set()
        if out:
            have = self._done(self.run(script.have(self._folder, part)), what)
            there = set(have.decode().split())
        self._send_pieces(part, (p for p in script.pieces(data) if p.name not in there))
        self._done(self.run(script.join(self._folder, part, digest, out)), what)

    def _send_pieces(self, part: str, pieces: Iterator[script.Piece]) -> None:
        under_way: deque[Target] = deque()
        for piece in pieces:
            under_way.append(self._give(script.keep_piece(self._folder, part, piece)))
            if len(under_way) == AT_ONCE:
                self._sent(under_way.popleft())
        while under_way:
            self._sent(under_way.popleft())

    def _sent(self, target: Target) -> None:
        self._await_end(target)
        why = target.why_not_run(self._name)
        if why is not None:
            raise self._explained(why)
        if target.exit_code():
            said = (target.text("stderr") or "").strip()
            raise NotRunError(f"sending to {self._name}: {said or 'exit code'}")

    def _done(self, ended: Ended, what: str) -> bytes:
        if ended.code:
            said = ended.stderr.decode(errors="replace").strip()
            raise NotRunError(f"{what} at {self._name}: {said or f'exit code {ended.code}'}")
        return ended.stdout
