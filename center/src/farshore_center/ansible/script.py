"""How a shell command travels to a node and its output back, as text that ``exec`` can carry. Pure.

``exec`` carries text and keeps a bounded part of the output. So a program runs inside a small shell
script: its standard output comes back compressed, in base64 (any byte survives, a checksum tells
whether all of it arrived, and far more of it fits); long standard input waits at the node in files
that are named by their digest, so that the same module is sent to a node once and not for each task.
It needs a POSIX shell, gzip, base64 and sha256sum.
"""

import base64
import binascii
import gzip
import hashlib
import json
import shlex
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import Any

SHELL = "/bin/sh"
MESSAGE_BYTES = 98_000
"""Of arguments in one command, as JSON; the center takes a little more."""
PIECE_CHARS = 96_000
"""Of base64 in one piece."""
BLOB_BYTES = 8 * 1024
"""A line of standard input that is longer is kept at the node."""
LEVEL = 6
_LONGEST_PIECE = 256 * 1024
_SHORTEST_PIECE = 16 * 1024
_WORD_CHARS = 60_000
_VARIABLE = "FARSHORE_INPUT_"

DONE, MISSING, PLAIN = "gz", "missing", "text"
"""The first line of what the script says: how the rest is written."""

_HOME = r"""
if [ -z "$HOME" ]; then HOME=$(getent passwd "$(id -u)" | cut -d: -f6); export HOME; fi
"""

_RUN = (
    _HOME
    + r"""
cmd=$1 dir=$2 plan=$3 names=
cd "${HOME:-/}" 2>/dev/null || cd /
case $dir in '~/'*) dir=$HOME/${dir#'~/'} ;; esac
for part in $plan; do
  case $part in
    [0-9]) names="$names FARSHORE_INPUT_$part" ;;
    *) [ -f "$dir/$part" ] || { echo missing; exit 0; } ;;
  esac
done
feed() {
  for part in $plan; do
    case $part in
      [0-9]) eval "printf %s \"\$FARSHORE_INPUT_$part\"" ;;
      *) cat "$dir/$part" ;;
    esac
  done
}
run() {
  if [ -n "$plan" ]; then feed | ( unset $names; exec /bin/sh -c "$cmd" )
  else ( exec /bin/sh -c "$cmd" ); fi
}
if command -v gzip >/dev/null && command -v base64 >/dev/null; then
  echo gz
  exec 3>&1
  code=$( { { run 3>&- 4>&-; echo $? >&4; } | gzip -1c | base64 >&3; } 4>&1 )
  exit "$code"
fi
echo text
run
"""
)

_KEEP = r"""
dir=$1 part=$2 name=$3 digest=$4
case $dir in '~/'*) dir=$HOME/${dir#'~/'} ;; esac
umask 077
mkdir -p "$dir/$part" || exit 1
case $name in 0*-first) find "$dir" -mindepth 1 -maxdepth 1 -mmin +1440 -exec rm -rf {} + ;; esac
new=$dir/new.$name.$$
base64 -d | gzip -dc > "$new"
if [ "$(sha256sum < "$new" | cut -c1-64)" = "$digest" ]
then mv -f "$new" "$dir/$part/$name"
else rm -f "$new"; echo "a piece did not arrive whole (is the disk full?)" >&2; exit 74; fi
"""

_JOIN = r"""
dir=$1 part=$2 blob=$3 out=$4
case $dir in '~/'*) dir=$HOME/${dir#'~/'} ;; esac
if [ -z "$out" ]; then out=$dir/$blob; umask 077; fi
new=$out.farshore.$$
ls "$dir/$part" 2>/dev/null | (cd "$dir/$part" 2>/dev/null && xargs cat) > "$new"
if [ "$(sha256sum < "$new" | cut -c1-64)" = "$blob" ]
then mv -f "$new" "$out" && rm -rf "${dir:?}/$part"
else
  rm -rf "$new" "${dir:?}/$part"; echo "it did not arrive whole (is the disk full?)" >&2; exit 74
fi
"""

_PUT = r"""
out=$1 digest=$2 new=$1.farshore.$$
base64 -d | gzip -dc > "$new" || { rm -f "$new"; exit 1; }
if [ "$(sha256sum < "$new" | cut -c1-64)" = "$digest" ]
then mv -f "$new" "$out"
else rm -f "$new"; echo "the file did not arrive whole (is the disk full?)" >&2; exit 74; fi
"""

_HAVE = r"""
dir=$1 part=$2
case $dir in '~/'*) dir=$HOME/${dir#'~/'} ;; esac
[ -d "$dir/$part" ] || exit 0
ls "$dir/$part"
"""

_LOOK = r"""
f=$1 bytes=$2
[ -d "$f" ] && { echo "is a directory" >&2; exit 3; }
[ -e "$f" ] || { echo "there is no such file" >&2; exit 2; }
[ -r "$f" ] || { echo "may not be read by the agent's user" >&2; exit 4; }
wc -c < "$f" | tr -d ' '
sha256sum < "$f" | cut -c1-64
dd if="$f" bs="$bytes" count=1 2>/dev/null
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Something that waits at the node under the digest of its content."""

    digest: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Arguments of ``exec``, and the blobs that must be at the node before."""

    args: dict[str, Any]
    blobs: tuple[Blob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    name: str
    digest: str
    text: str


class TooLongError(ValueError):
    """The command line does not fit into a message."""


def sha256(data: bytes | mmap) -> str:
    return hashlib.sha256(data).hexdigest()


def packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, LEVEL, mtime=0)).decode()


def call(cmd: str, stdin: bytes | None, folder: str) -> Call:
    """``cmd`` in a shell with these bytes on its standard input (None: there is none)."""
    if len(cmd.encode()) > _WORD_CHARS:
        raise TooLongError(
            f"the command line has {len(cmd.encode())} bytes, expected {_WORD_CHARS} or fewer; "
            "put it into a script (the modules script and copy send it as a file)"
        )
    args: dict[str, Any] = {"argv": _argv(cmd, folder, "")}
    if stdin is None:
        return Call(args=args)
    text = _as_text(stdin)
    if text is not None and _size(args | {"stdin": text}) <= MESSAGE_BYTES:
        return Call(args=args | {"stdin": text})
    return _planned(cmd, stdin, folder)


def _planned(cmd: str, stdin: bytes, folder: str) -> Call:
    """Long lines as blobs; what stands between them, which may be secret, in the environment."""
    plan: list[str] = []
    env: dict[str, str] = {}
    blobs: dict[str, Blob] = {}
    for part in _parts(stdin):
        text = _as_text(part) if len(part) < BLOB_BYTES else None
        if text is not None and len(env) < 10:
            plan.append(str(len(env)))
            env[f"{_VARIABLE}{len(env)}"] = text
        else:
            digest = sha256(part)
            plan.append(digest)
            blobs[digest] = Blob(digest=digest, data=part)
    args = {"argv": _argv(cmd, folder, " ".join(plan)), "env": env}
    if _size(args) > MESSAGE_BYTES or len(blobs) > 16:
        whole = Blob(digest=sha256(stdin), data=stdin)
        return Call(args={"argv": _argv(cmd, folder, whole.digest)}, blobs=(whole,))
    return Call(args=args, blobs=tuple(blobs.values()))


def _parts(stdin: bytes) -> Iterator[bytes]:
    """Long lines one by one, the lines between them together."""
    short: list[bytes] = []
    for line in stdin.splitlines(keepends=True):
        if len(line) < BLOB_BYTES:
            short.append(line)
            continue
        if short:
            yield b"".join(short)
            short = []
        yield line
    if short:
        yield b"".join(short)


def _as_text(data: bytes | None) -> str | None:
    """``data`` as text that a message and an environment can hold, or None."""
    if data is None or b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _argv(cmd: str, folder: str, plan: str) -> list[str]:
    return [SHELL, "-c", _RUN, "farshore", cmd, folder, plan]


def _size(args: dict[str, Any]) -> int:
    return len(json.dumps(args, ensure_ascii=False, separators=(",", ":")).encode())


def pieces(data: bytes | mmap) -> Iterator[Piece]:
    """``data`` in pieces of which each fits into one message; the cuts depend on it alone."""
    start, length = 0, _LONGEST_PIECE
    while start < len(data) or not start:
        raw = data[start : start + length]
        text = packed(raw)
        if len(text) > PIECE_CHARS:
            length = max(_SHORTEST_PIECE, int(length * PIECE_CHARS / len(text) * 0.98))
            continue
        mark = "-first" if not start else ""
        yield Piece(name=f"{start:012d}-{len(raw)}{mark}", digest=sha256(raw), text=text)
        start += max(len(raw), 1)


def keep_piece(folder: str, part: str, piece: Piece) -> dict[str, Any]:
    argv = [SHELL, "-c", _HOME + _KEEP, "farshore", folder, part, piece.name, piece.digest]
    return {"argv": argv, "stdin": piece.text}


def join(folder: str, part: str, blob: str, out: str = "") -> str:
    """The pieces in ``part`` become one file: ``out``, or what later commands name ``blob``."""
    return _line(_JOIN, folder, part, blob, out)


def have(folder: str, part: str) -> str:
    """Says the names of the pieces that are at the node."""
    return _line(_HAVE, folder, part)


def put(out: str, data: bytes) -> tuple[str, bytes]:
    """A small file in one command."""
    return _line(_PUT, out, sha256(data)), packed(data).encode()


def look(path: str, length: int) -> str:
    """Says size, digest and the beginning of a file."""
    return _line(_LOOK, path, str(length))


def read_on(path: str, length: int, number: int) -> str:
    return f"dd if={shlex.quote(path)} bs={length} skip={number} count=1 2>/dev/null"


def _line(script: str, *words: str) -> str:
    return shlex.join([SHELL, "-c", script, "farshore", *words])


def unpacked(text: str) -> tuple[str, bytes | None]:
    """How it is written, and the output; None while a part of it is missing."""
    kind, _, rest = text.partition("\n")
    if kind == PLAIN:
        return kind, rest.encode()
    if kind != DONE:
        return kind, b""
    try:
        return kind, gzip.decompress(binascii.a2b_base64(rest))
    except (binascii.Error, EOFError, OSError, zlib.error):
        return kind, None
