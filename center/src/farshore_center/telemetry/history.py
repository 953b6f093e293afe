"""Reads the history of a node: inbox and chunks together, as if there were only samples.

The answer does not depend on what has been compacted: samples are sorted by time, and those of
one instant by value, nulls last. A damaged row is left out and counted, so that one bad sector
does not hide the rest; who calls says so in the log.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np
from sqlalchemy import Connection, RowMapping, Select, Table, select

from farshore_center.telemetry import chunk, inbox
from farshore_center.telemetry.errors import ChunkError, TooManyPointsError
from farshore_center.telemetry.latest import LastValue, last_of_batch, last_of_samples, offer
from farshore_center.telemetry.model import batches, chunks
from farshore_center.telemetry.samples import Batch, Mask, Samples, Times, Values, from_batches

MAX_VALUES = 5_000_000

# How far back the list of names and the last values look.
_RECENT_BATCHES = 20
_RECENT_CHUNKS = 24
# Rows fetched at a time; a chunk is some hundred kilobytes.
_FETCH = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """``approximate``: where nobody could check the clock that the instant is from."""

    t_ms: Times
    values: Values
    approximate: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """`damaged` counts the stored rows that could not be read and are missing here."""

    series: dict[str, Series]
    damaged: int


def matcher(patterns: Sequence[str] | None) -> Callable[[str], bool]:
    """Globs over whole names; none at all means every series."""
    if not patterns:
        return lambda _name: True
    return lambda name: any(fnmatchcase(name, pattern) for pattern in patterns)


def query(
    connection: Connection,
    node: str,
    patterns: Sequence[str] | None,
    from_ms: int,
    to_ms: int,
    *,
    max_values: int = MAX_VALUES,
) -> History:
    """Samples with from_ms <= t < to_ms; TooManyPointsError before memory is at stake."""
    wanted = matcher(patterns)
    pieces: dict[str, list[Series]] = defaultdict(list)
    damaged = 0
    points = 0
    for samples in _overlapping(connection, node, wanted, from_ms, to_ms):
        if samples is None:
            damaged += 1
            continue
        for name, piece in _cut(samples, from_ms, to_ms):
            pieces[name].append(piece)
            points += len(piece.t_ms)
        if points > max_values:
            raise TooManyPointsError(points, max_values)
    return History(series={name: _join(pieces[name]) for name in sorted(pieces)}, damaged=damaged)


def newest(connection: Connection, nodes: Sequence[str]) -> dict[str, dict[str, LastValue]]:
    """The last values of each node, by its newest batches and its newest chunk."""
    return {node: _newest_of(connection, node) for node in nodes}


def _newest_of(connection: Connection, node: str) -> dict[str, LastValue]:
    found: dict[str, LastValue] = {}
    statement = _newest_first(batches, node, _RECENT_BATCHES)
    # The newest last: it has the last word about an instant that occurs twice.
    for row in reversed(connection.execute(statement).mappings().all()):
        with suppress(ChunkError):
            offer(found, last_of_batch(_unpacked(row)))
    newest_chunk = connection.execute(_newest_first(chunks, node, 1)).mappings().first()
    if newest_chunk is not None:
        # A chunk has many series, and of most of them the inbox knows something newer.
        t1_ms = newest_chunk["t1_ms"]
        newer = {name for name, last in found.items() if last.t_ms > t1_ms}
        with suppress(ChunkError):
            samples = chunk.decode(newest_chunk["payload"], lambda name: name not in newer)
            offer(found, last_of_samples(samples))
    return found


def series_names(connection: Connection, node: str) -> list[str]:
    """The names that occur in a node's recent samples."""
    names: set[str] = set()
    statement = _newest_first(chunks, node, _RECENT_CHUNKS).with_only_columns(chunks.c.payload)
    for payload in connection.execute(statement).scalars():
        try:
            names.update(chunk.series_names(payload))
        except ChunkError:
            continue
    for samples in _decoded(
        connection, batches, _newest_first(batches, node, _RECENT_BATCHES), matcher(None)
    ):
        if samples is not None:
            names.update(samples.columns)
    return sorted(names)


def _overlapping(
    connection: Connection,
    node: str,
    wanted: Callable[[str], bool],
    from_ms: int,
    to_ms: int,
) -> Iterator[Samples | None]:
    for table in (batches, chunks):
        statement = (
            select(table)
            .where(table.c.node == node, table.c.t0_ms < to_ms, table.c.t1_ms >= from_ms)
            .order_by(table.c.t0_ms, table.c.id)
        )
        yield from _decoded(connection, table, statement, wanted)


def _newest_first(table: Table, node: str, limit: int) -> Select[*tuple[object, ...]]:
    # By first sample: that is how the index runs.
    newest_first = table.c.t0_ms.desc()
    return select(table).where(table.c.node == node).order_by(newest_first).limit(limit)


def _decoded(
    connection: Connection,
    table: Table,
    statement: Select[*tuple[object, ...]],
    wanted: Callable[[str], bool],
) -> Iterator[Samples | None]:
    """Decodes row by row; None stands for a damaged one."""
    decode = _decode_chunk if table is chunks else _decode_batch
    result = connection.execute(statement.execution_options(yield_per=_FETCH))
    for row in result.mappings():
        try:
            yield decode(row, wanted)
        except ChunkError:
            yield None


def _decode_chunk(row: RowMapping, wanted: Callable[[str], bool]) -> Samples:
    return chunk.decode(row["payload"], wanted)


def _decode_batch(row: RowMapping, wanted: Callable[[str], bool]) -> Samples:
    batch = _unpacked(row)
    kept = {name: values for name, values in batch.series.items() if wanted(name)}
    return from_batches([replace(batch, series=kept)])


def _unpacked(row: RowMapping) -> Batch:
    return inbox.unpack(t0_ms=row["t0_ms"], approximate=row["approximate"], payload=row["payload"])


def _cut(samples: Samples, from_ms: int, to_ms: int) -> Iterator[tuple[str, Series]]:
    inside = (samples.t_ms >= from_ms) & (samples.t_ms < to_ms)
    for name, column in samples.columns.items():
        chosen = column.present & inside
        if chosen.any():
            values = column.values[inside[column.present]]
            yield (
                name,
                Series(
                    t_ms=samples.t_ms[chosen],
                    values=values,
                    approximate=samples.approximate[chosen],
                ),
            )


def _join(pieces: Sequence[Series]) -> Series:
    t_ms = np.concatenate([piece.t_ms for piece in pieces])
    values = np.concatenate([piece.values for piece in pieces])
    approximate = np.concatenate([piece.approximate for piece in pieces])
    if bool((np.diff(t_ms) > 0).all()):
        return Series(t_ms=t_ms, values=values, approximate=approximate)
    # What was checked stands first: the answer must not depend on what has been compacted.
    order = np.lexsort((approximate, values, t_ms))
    return Series(t_ms=t_ms[order], values=values[order], approximate=approximate[order])
