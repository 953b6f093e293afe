"""``desired/tasks`` as it comes: one grant that can't be read does not keep the others from their node."""

from dataclasses import dataclass

import msgspec
from farshore_protocol.codec import decode
from farshore_protocol.messages.record import Count
from farshore_protocol.tasks import Grant
from farshore_protocol.tasks.messages import MAX_TASKS_BYTES, Epoch, Index
from farshore_protocol.tasks.spec import TaskName, TaskSpec
from farshore_protocol.telemetry import inflate


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    rev: Count
    grants: tuple[msgspec.Raw, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Name:
    task: TaskName
    instance: Index
    attempt: Count
    epoch: Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """``unread``: grants that can't be used, as far as they name themselves, with why; their ``spec`` is
    an empty one. ``nameless``: why of those that do not."""

    rev: int
    grants: tuple[Grant, ...]
    unread: tuple[tuple[Grant, str], ...] = ()
    nameless: tuple[str, ...] = ()


def read(payload: bytes) -> Document:
    """Raises MessageError for what is no document at all."""
    whole = decode(_Document, inflate(payload), limit_bytes=MAX_TASKS_BYTES)
    grants, unread, nameless = [], [], []
    for raw in whole.grants:
        try:
            grants.append(msgspec.json.decode(raw, type=Grant))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            why = f"the grant can't be read: {exc}"
            try:
                name = msgspec.json.decode(raw, type=_Name)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                nameless.append(why)
            else:
                unread.append((_empty(name), why))
    return Document(
        rev=whole.rev, grants=tuple(grants), unread=tuple(unread), nameless=tuple(nameless)
    )


def _empty(name: _Name) -> Grant:
    return Grant(
        task=name.task,
        instance=name.instance,
        attempt=name.attempt,
        epoch=name.epoch,
        spec=TaskSpec(kind="batch", driver="unknown"),
    )
