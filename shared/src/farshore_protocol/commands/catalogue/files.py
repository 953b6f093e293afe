"""Verbs about files and logs of the machine."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from farshore_protocol.commands.catalogue.model import Verb

PIECE_MAX_BYTES = 48 * 1024
"""Of a file in one command: as base64 it fits into a report and into a command."""

FilePath = Annotated[str, Meta(min_length=1, max_length=4096)]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReadArgs:
    """``offset``, ``length``: in bytes. ``encoding``: how the piece comes; ``auto``: as text where it is
    UTF-8, else as base64."""

    path: FilePath
    offset: Annotated[int, Meta(ge=0, lt=2**53)] = 0
    length: Annotated[int, Meta(ge=1, le=PIECE_MAX_BYTES)] = PIECE_MAX_BYTES
    encoding: Literal["auto", "text", "base64"] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReadResult:
    """``size``: of the whole file; ``length``: of this piece; ``end``: whether the file ends with it;
    ``sha256``: of the piece; ``mode``: octal; ``modified_ms``: the node's wall clock."""

    path: str
    size: int
    offset: int
    length: int
    end: bool
    encoding: str
    data: str
    sha256: str
    mode: str
    modified_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWriteArgs:
    """The whole file. ``sha256``: of what is to be written, checked before. ``expect``: the SHA-256 of
    what must be there now, or ``absent``; without it whatever is there is replaced. ``mode``: octal;
    without it the mode stays, and is 0644 for a new file."""

    path: FilePath
    data: Annotated[str, Meta(max_length=PIECE_MAX_BYTES * 2)]
    encoding: Literal["text", "base64"] = "text"
    sha256: Sha256 | None = None
    expect: Annotated[str, Meta(pattern=r"\A(absent|[0-9a-f]{64})\Z")] | None = None
    mode: Annotated[str, Meta(pattern=r"\A0?[0-7]{3}\Z")] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWriteResult:
    """``before``: the SHA-256 of what was there, null where nothing was; ``changed``: whether it was
    something else."""

    path: str
    size: int
    sha256: str
    before: str | None
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsArgs:
    """Exactly one of ``unit`` (of the systemd journal, or an instance of a task: ``TASK/INSTANCE``) and
    ``path`` (of a file). ``lines``: the last so many. ``since``, of the journal: as journalctl takes it,
    ``-1h`` or ``2026-01-31 12:00``. ``grep``: only lines that hold this text. ``follow``: what comes then
    goes live to ``log/<name>``, for ``follow_s`` seconds unless it is asked for again."""

    unit: (
        Annotated[
            str,
            Meta(pattern=r"\A[A-Za-z0-9@_.:\\][A-Za-z0-9@_.:\\-]*(/[0-9]{1,4})?\Z", max_length=255),
        ]
        | None
    ) = None
    path: FilePath | None = None
    lines: Annotated[int, Meta(ge=0, le=10_000)] = 100
    since: (
        Annotated[str, Meta(pattern=r"\A[-+A-Za-z0-9][-+A-Za-z0-9 :.]*\Z", max_length=64)] | None
    ) = None
    grep: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    follow: bool = False
    follow_s: Annotated[float, Meta(ge=1, le=3600)] = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsResult:
    """``lines``: how many came as output; ``output_cut_bytes``: what was over the limit, of the oldest.
    With ``follow``: ``name`` of the topic ``log/<name>``; ``tail`` and ``seq``: the live messages of this
    tail with a higher seq go on where the output ends."""

    source: str
    lines: int
    output_cut_bytes: int = 0
    name: str | None = None
    tail: str | None = None
    seq: int | None = None


FILES = (
    Verb(
        name="file-read",
        summary="Reads a piece of a file below the folders that the node allows.",
        risk="read",
        idempotent=True,
        timeout_s=30,
        args=FileReadArgs,
        result=FileReadResult,
    ),
    Verb(
        name="file-write",
        summary="Writes a file whole or not at all, below the folders that the node allows.",
        risk="danger",
        idempotent=False,
        timeout_s=30,
        args=FileWriteArgs,
        result=FileWriteResult,
    ),
    Verb(
        name="logs",
        summary="The last lines of a unit's journal or of an allowed log file, and live those that follow.",
        risk="read",
        idempotent=True,
        timeout_s=30,
        args=LogsArgs,
        result=LogsResult,
        output=True,
    ),
)
