"""Programs and files at one node: what stands in ``script``, sent by ``calls``."""

import hashlib
import os
import uuid
from collections import deque
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path

from farshore_center.ansible import script
from farshore_center.ansible.calls import Commands, Ended
from farshore_center.ansible.ending import Target
from farshore_center.ansible.errors import NotRunError, OutputCutError

AT_ONCE = 6
"""Pieces under way; a node runs 8 commands at once unless it is told otherwise."""
SMALL_FILE_BYTES = 64 * 1024
"""Such a file is one command, however badly it compresses."""
FETCH_BYTES, FETCH_LEAST_BYTES = 160 * 1024, 5 * 1024


class Node:
    """``folder``: where the node keeps what is sent to it; ``known``: one here, in which a run of
    Ansible remembers what it has sent to which node.
    """

    def __init__(self, commands: Commands, *, folder: str, known: Path | None = None) -> None:
        self._commands = commands
        self._name = commands.node
        self._folder = folder
        self._known = known

    def close(self) -> None:
        self._commands.close()

    def run(self, cmd: str, stdin: bytes | None = None) -> Ended:
        """A shell command to its end. Raises one of ``errors`` where there is no exit code."""
        try:
            call = script.call(cmd, stdin, self._folder)
        except (script.TooLongError, UnicodeEncodeError) as exc:
            raise NotRunError(f"the command can't be sent: {exc}") from exc
        for blob in call.blobs:
            if not self._sent_before(blob.digest):
                self._send_blob(blob)
        kind, ended = self._commands.ended(self._commands.give(call.args))
        if kind == script.MISSING:  # the node has lost it, and so nothing was run
            for blob in call.blobs:
                self._send_blob(blob)
            kind, ended = self._commands.ended(self._commands.give(call.args))
        if kind == script.MISSING:
            raise NotRunError(f"{self._name} loses what is put into {self._folder}; nothing ran")
        if kind == script.PLAIN and "\N{REPLACEMENT CHARACTER}".encode() in ended.stdout:
            raise NotRunError(
                f"{self._name} ran it (exit code {ended.code}), but its output is no text, and "
                "without gzip and base64 a node can only send text"
            )
        return ended

    def put(self, source: Path, out: str) -> None:
        """A file of any length; what a broken transfer has left at the node is not sent again."""
        if source.stat().st_size <= SMALL_FILE_BYTES:
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
                under_way.append(self._commands.give(script.call(cmd, None, self._folder).args))
            if not under_way:
                return
            yield self._done(self._commands.ended(under_way.popleft())[1], f"reading {path}")

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
            self._send_to(f"{digest}.{uuid.uuid4().hex}.part", data, digest, out)

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
            under_way.append(self._commands.give(script.keep_piece(self._folder, part, piece)))
            if len(under_way) == AT_ONCE:
                self._sent(under_way.popleft())
        while under_way:
            self._sent(under_way.popleft())

    def _sent(self, target: Target) -> None:
        self._commands.await_end(target)
        if target.exit_code():
            said = (target.text("stderr") or "").strip()
            raise NotRunError(f"sending to {self._name}: {said or 'exit code'}")

    def _done(self, ended: Ended, what: str) -> bytes:
        if ended.code:
            said = ended.stderr.decode(errors="replace").strip()
            raise NotRunError(f"{what} at {self._name}: {said or f'exit code {ended.code}'}")
        return ended.stdout
