"""The telemetry tables: insert, compact, merge, expire. Functions of a connection.

A compaction or merge is planned on a snapshot (slow: decode, encode) and applied in a transaction
(fast: insert, delete). Applying it checks that everything that was read is still there, so a plan
that was overtaken changes nothing and a crash at any point loses and doubles nothing. Reading the
history is `history.py`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Table, delete, func, insert, or_, select

from farshore_center.telemetry import chunk, inbox
from farshore_center.telemetry.errors import ChunkError, ConflictError
from farshore_center.telemetry.inbox import InboxRow
from farshore_center.telemetry.model import batches, chunks
from farshore_center.telemetry.plan import Piece, compaction_groups, merge_groups
from farshore_center.telemetry.samples import Batch, Samples, from_batches, merge

# SQLite refuses a statement with very many parameters.
_IDS_PER_STATEMENT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionSettings:
    """`window_s`: a chunk holds batches of one such window; `target_samples`: instants a chunk."""

    max_batches: int = 500
    window_s: int = 6 * 3600
    target_samples: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class NewChunk:
    node: str
    t0_ms: int
    t1_ms: int
    samples: int
    series: int
    payload_bytes: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """Rows of one table that become chunks; `damaged` are those of them that cannot be read."""

    source: Table
    ids: tuple[int, ...]
    made: tuple[NewChunk, ...]
    damaged: tuple[int, ...] = ()


def insert_batches(connection: Connection, rows: Sequence[InboxRow]) -> None:
    if rows:
        connection.execute(insert(batches), [asdict(row) for row in rows])


def due_nodes(
    connection: Connection, *, min_batches: int, received_before_ms: int, limit: int
) -> list[str]:
    """Nodes whose inbox is full or old, the oldest first; reads an index only."""
    oldest = func.min(batches.c.received_ms)
    statement = (
        select(batches.c.node)
        .group_by(batches.c.node)
        .having(or_(func.count() >= min_batches, oldest < received_before_ms))
        .order_by(oldest)
        .limit(limit)
    )
    return list(connection.execute(statement).scalars())


def compact(connection: Connection, node: str, settings: CompactionSettings) -> Rewrite | None:
    """Plans and applies in the caller's transaction."""
    rewrite = plan_compaction(connection, node, settings)
    if rewrite is not None:
        apply(connection, rewrite)
    return rewrite


def plan_compaction(
    connection: Connection, node: str, settings: CompactionSettings
) -> Rewrite | None:
    """Chunks for what lies in the inbox of a node, or None when it is empty."""
    columns = (batches.c.id, batches.c.t0_ms, batches.c.approximate, batches.c.payload)
    statement = (
        select(*columns)
        .where(batches.c.node == node)
        .order_by(batches.c.id)
        .limit(settings.max_batches)
    )
    ids: list[int] = []
    damaged: list[int] = []
    readable: dict[int, Batch] = {}
    for row_id, t0_ms, approximate, payload in connection.execute(statement):
        ids.append(row_id)
        try:
            readable[row_id] = inbox.unpack(t0_ms=t0_ms, approximate=approximate, payload=payload)
        except ChunkError:
            damaged.append(row_id)
    if not ids:
        return None
    pieces = [
        Piece(id=row_id, t0_ms=batch.ts_ms + min(batch.dt_ms), samples=len(batch.dt_ms))
        for row_id, batch in readable.items()
    ]
    groups = compaction_groups(
        pieces, window_ms=settings.window_s * 1000, max_samples=settings.target_samples
    )
    made = (from_batches([readable[piece.id] for piece in group]) for group in groups)
    return Rewrite(
        source=batches,
        ids=tuple(ids),
        made=tuple(_new_chunk(node, samples) for samples in made),
        damaged=tuple(damaged),
    )


def plan_merge(connection: Connection, node: str, settings: CompactionSettings) -> Rewrite | None:
    """Bigger chunks for the small ones of a node, or None when it isn't worth it."""
    columns = (chunks.c.id, chunks.c.t0_ms, chunks.c.samples)
    small = select(*columns).where(
        chunks.c.node == node, chunks.c.samples * 2 < settings.target_samples
    )
    pieces = [
        Piece(id=row_id, t0_ms=t0_ms, samples=samples)
        for row_id, t0_ms, samples in connection.execute(small)
    ]
    groups = merge_groups(
        pieces, window_ms=settings.window_s * 1000, target_samples=settings.target_samples
    )
    ids: list[int] = []
    made: list[NewChunk] = []
    for group in groups:
        parts = _decode_chunks(connection, [piece.id for piece in group])
        if len(parts) > 1:
            ids.extend(parts)
            made.append(_new_chunk(node, merge(list(parts.values()))))
    return Rewrite(source=chunks, ids=tuple(ids), made=tuple(made)) if made else None


def apply(connection: Connection, rewrite: Rewrite) -> None:
    """Puts the new chunks in place of what they were made of; all or, by raising, nothing."""
    if rewrite.made:
        connection.execute(insert(chunks), [asdict(new) for new in rewrite.made])
    source = rewrite.source
    removed = 0
    for start in range(0, len(rewrite.ids), _IDS_PER_STATEMENT):
        some = rewrite.ids[start : start + _IDS_PER_STATEMENT]
        removed += connection.execute(delete(source).where(source.c.id.in_(some))).rowcount
    if removed != len(rewrite.ids):
        raise ConflictError(
            f"{len(rewrite.ids) - removed} rows of {source.name} were gone before their rewrite"
        )


def count_expired(connection: Connection, *, before_ms: int) -> int:
    statement = select(func.count()).select_from(chunks).where(chunks.c.t1_ms < before_ms)
    return int(connection.execute(statement).scalar_one())


def expire(connection: Connection, *, before_ms: int, limit: int) -> int:
    """Deletes up to `limit` chunks whose last sample is older; returns how many."""
    old = (
        select(chunks.c.id).where(chunks.c.t1_ms < before_ms).order_by(chunks.c.t1_ms).limit(limit)
    )
    return connection.execute(delete(chunks).where(chunks.c.id.in_(old))).rowcount


def delete_node(connection: Connection, node: str) -> None:
    """Everything of one node, for when the node itself is deleted."""
    for table in (batches, chunks):
        connection.execute(delete(table).where(table.c.node == node))


def _decode_chunks(connection: Connection, ids: Sequence[int]) -> dict[int, Samples]:
    statement = select(chunks.c.id, chunks.c.payload).where(chunks.c.id.in_(ids))
    parts = {}
    for row_id, payload in connection.execute(statement.order_by(chunks.c.id)):
        try:
            parts[row_id] = chunk.decode(payload)
        except ChunkError:
            continue  # stays as it is; every query that meets it reports it
    return parts


def _new_chunk(node: str, samples: Samples) -> NewChunk:
    payload = chunk.encode(samples)
    return NewChunk(
        node=node,
        t0_ms=int(samples.t_ms[0]),
        t1_ms=int(samples.t_ms[-1]),
        samples=len(samples.t_ms),
        series=len(samples.columns),
        payload_bytes=len(payload),
        payload=payload,
    )
