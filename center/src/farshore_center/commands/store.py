"""Commands in the database: plain functions of a connection, few statements for many rows."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from farshore_protocol.commands import Output
from farshore_protocol.commands.lifecycle import FINAL
from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Row,
    Select,
    String,
    and_,
    bindparam,
    column,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    update,
    values,
)
from sqlalchemy.dialects import postgresql, sqlite

from farshore_center.commands.engine import TAKEN, Step, Target
from farshore_center.commands.model import commands, outputs, targets
from farshore_center.commands.schedule import Key
from farshore_center.commands.views import CommandView, TargetView

T = TypeVar("T")

_CHUNK = 500
"""Keys in one question: well below the number of parameters that a statement may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a node is told; `args` is JSON text."""

    verb: str
    args: str
    timeout_s: float | None
    created_ms: int
    secret: bool


def add_commands(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        conn.execute(insert(commands), [dict(row) for row in rows])


def add_targets(conn: Connection, new: Sequence[Target]) -> None:
    if new:
        conn.execute(
            insert(targets),
            [{"command_id": t.command_id, "node": t.node, **_target_columns(t)} for t in new],
        )


def save_targets(conn: Connection, changed: Sequence[Target]) -> None:
    if changed:
        conn.execute(
            update(targets).where(
                targets.c.command_id == bindparam("of_command"),
                targets.c.node == bindparam("of_node"),
            ),
            [
                {"of_command": t.command_id, "of_node": t.node, **_target_columns(t)}
                for t in changed
            ],
        )


def add_outputs(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Chunks that are there already stay as they are."""
    if rows:
        new: Insert
        if conn.dialect.name == "sqlite":
            new = sqlite.insert(outputs).on_conflict_do_nothing()
        else:
            new = postgresql.insert(outputs).on_conflict_do_nothing()
        conn.execute(new, [dict(row) for row in rows])


def load_targets(conn: Connection, keys: Iterable[Key]) -> dict[Key, Target]:
    """Those of the keys that exist."""
    found: dict[Key, Target] = {}
    for chunk in _chunks(keys):
        # Joined, not compared as a tuple: for that SQLite would read the whole table.
        wanted = (
            values(column("command_id", String), column("node", String)).data(chunk).cte("wanted")
        )
        question = _targets().where(
            targets.c.command_id == wanted.c.command_id, targets.c.node == wanted.c.node
        )
        for row in conn.execute(question):
            target = _target(row)
            found[target.key] = target
    return found


def targets_of(conn: Connection, command_id: str) -> list[Target]:
    question = _targets().where(targets.c.command_id == command_id).order_by(targets.c.node)
    return [_target(row) for row in conn.execute(question)]


def open_targets(conn: Connection, node: str) -> list[Target]:
    """What a node has not ended."""
    question = _targets().where(targets.c.node == node, targets.c.state.not_in(sorted(FINAL)))
    return [_target(row) for row in conn.execute(question.order_by(targets.c.command_id))]


def is_open(conn: Connection, command_id: str) -> bool:
    """Whether any target of the command is not at its end."""
    question = select(literal(1)).where(
        targets.c.command_id == command_id, targets.c.state.not_in(FINAL)
    )
    return conn.execute(question.limit(1)).first() is not None


def unanswered(conn: Connection) -> list[tuple[str, str, int]]:
    """Command id, node and expiry of every target that still waits for the node's word."""
    question = (
        select(targets.c.command_id, targets.c.node, commands.c.expires_ms)
        .join_from(targets, commands, commands.c.id == targets.c.command_id)
        .where(_waiting())
    )
    return [(row.command_id, row.node, row.expires_ms) for row in conn.execute(question)]


def taken(conn: Connection, nodes: Iterable[str] | None = None) -> list[Key]:
    """What these nodes, or any, have taken and not ended, as far as the center knows."""
    question = (
        select(targets.c.command_id, targets.c.node)
        .where(targets.c.state.in_(TAKEN))
        .order_by(targets.c.node, targets.c.command_id)
    )
    questions = (
        [question]
        if nodes is None
        else [question.where(targets.c.node.in_(chunk)) for chunk in _chunks(nodes)]
    )
    return [(row.command_id, row.node) for each in questions for row in conn.execute(each)]


def _waiting() -> ColumnElement[bool]:
    return targets.c.state.in_([literal_column("'queued'"), literal_column("'sent'")])


def hold(conn: Connection, reason: str, now_ms: int) -> int:
    """Holds every unanswered target that is not expired; how many."""
    valid = select(commands.c.id).where(commands.c.expires_ms > now_ms)
    changed = (
        update(targets)
        .where(_waiting(), targets.c.held.is_(False), targets.c.command_id.in_(valid))
        .values(held=True, reason=reason)
    )
    return conn.execute(changed).rowcount


def release(conn: Connection) -> int:
    """Holds no target any more; how many still wait."""
    waiting = count_held(conn)
    conn.execute(update(targets).where(targets.c.held, _waiting()).values(held=False, reason=None))
    return waiting


def count_held(conn: Connection) -> int:
    found = conn.execute(
        select(func.count()).select_from(targets).where(targets.c.held, _waiting())
    )
    return int(found.scalar_one())


def orders(conn: Connection, command_ids: Iterable[str]) -> dict[str, Order]:
    found: dict[str, Order] = {}
    for chunk in _chunks(command_ids):
        question = select(
            commands.c.id,
            commands.c.verb,
            commands.c.args,
            commands.c.timeout_s,
            commands.c.created_ms,
            commands.c.secret,
        ).where(commands.c.id.in_(chunk))
        for row in conn.execute(question):
            found[row.id] = Order(
                verb=row.verb,
                args=row.args,
                timeout_s=row.timeout_s,
                created_ms=row.created_ms,
                secret=bool(row.secret),
            )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Who gave a command, and what it says; `args` is JSON text."""

    by: str
    verb: str
    args: str


def given(conn: Connection, command_ids: Iterable[str]) -> dict[str, Given]:
    """Of the commands that exist."""
    found: dict[str, Given] = {}
    for chunk in _chunks(command_ids):
        question = select(commands.c.id, commands.c.by, commands.c.verb, commands.c.args)
        for row in conn.execute(question.where(commands.c.id.in_(chunk))):
            found[row.id] = Given(by=row.by, verb=row.verb, args=row.args)
    return found


def by_key(conn: Connection, key: str) -> tuple[str, str | None] | None:
    """Id and request digest of the command that was made with this Idempotency-Key."""
    row = conn.execute(
        select(commands.c.id, commands.c.request_digest).where(commands.c.idempotency_key == key)
    ).one_or_none()
    return None if row is None else (row.id, row.request_digest)


def view(conn: Connection, command_id: str) -> CommandView | None:
    """The command with everything about its targets."""
    row = conn.execute(select(commands).where(commands.c.id == command_id)).one_or_none()
    if row is None:
        return None
    written: dict[str, list[Output]] = {}
    chunks = conn.execute(
        select(outputs)
        .where(outputs.c.command_id == command_id)
        .order_by(outputs.c.node, outputs.c.offset, outputs.c.stream)
    )
    for chunk in chunks:
        written.setdefault(chunk.node, []).append(
            Output(offset=chunk.offset, stream=chunk.stream, text=chunk.text)
        )
    views = [
        TargetView(target=target, output=tuple(written.get(target.node, ())))
        for target in targets_of(conn, command_id)
    ]
    summary: dict[str, int] = {}
    for each in views:
        summary[each.target.state] = summary.get(each.target.state, 0) + 1
    return _view(row, summary, views)


def newest(conn: Connection, limit: int, before: tuple[int, str] | None) -> list[CommandView]:
    """Commands without their targets, the newest first, from behind the one `before`."""
    question = select(commands).order_by(commands.c.created_ms.desc(), commands.c.id.desc())
    if before is not None:
        created_ms, command_id = before
        question = question.where(
            or_(
                commands.c.created_ms < created_ms,
                and_(commands.c.created_ms == created_ms, commands.c.id < command_id),
            )
        )
    rows = conn.execute(question.limit(limit)).all()
    counted: dict[str, dict[str, int]] = {row.id: {} for row in rows}
    summaries = (
        select(targets.c.command_id, targets.c.state, func.count().label("number"))
        .where(targets.c.command_id.in_(list(counted)))
        .group_by(targets.c.command_id, targets.c.state)
    )
    for each in conn.execute(summaries):
        counted[each.command_id][each.state] = each.number
    return [_view(row, counted[row.id], None) for row in rows]


def _view(
    row: Row[Any], summary: Mapping[str, int], views: Sequence[TargetView] | None
) -> CommandView:
    return CommandView(
        id=row.id,
        verb=row.verb,
        args=row.args,
        created_ms=row.created_ms,
        expires_ms=row.expires_ms,
        timeout_s=row.timeout_s,
        by=row.by,
        summary=summary,
        targets=views,
        secret=bool(row.secret),
        erased=bool(row.erased),
    )


def _targets() -> Select[Any]:
    known = commands.c
    return select(targets, known.expires_ms, known.secret, known.erased).join_from(
        targets, commands, known.id == targets.c.command_id
    )


def _target(row: Row[Any]) -> Target:
    return Target(
        command_id=row.command_id,
        node=row.node,
        expires_ms=row.expires_ms,
        updated_ms=row.updated_ms,
        state=row.state,
        reason=row.reason,
        sent_ms=row.sent_ms,
        sends=row.sends,
        epoch=row.epoch,
        seq=row.seq,
        result=row.result,
        error=row.error,
        history=tuple(Step(state, at, bool(said)) for state, at, said in orjson.loads(row.history)),
        held=bool(row.held),
        cancelling=bool(row.cancelling),
        secret=bool(row.secret),
        erased=bool(row.erased),
    )


def _target_columns(target: Target) -> dict[str, Any]:
    history = [[step.state, step.at_ms, int(step.by_node)] for step in target.history]
    return {
        "state": target.state,
        "reason": target.reason,
        "updated_ms": target.updated_ms,
        "sent_ms": target.sent_ms,
        "sends": target.sends,
        "epoch": target.epoch,
        "seq": target.seq,
        "result": target.result,
        "error": target.error,
        "history": orjson.dumps(history).decode(),
        "held": target.held,
        "cancelling": target.cancelling,
    }


def _chunks(keys: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(dict.fromkeys(keys))
    while chunk := list(itertools.islice(iterator, _CHUNK)):
        yield chunk
