"""Layers and schemas in the database: revisions are added, none is changed.

What the groups' room calls inside its own transactions stands here as well: ``rename_group`` and
``has_layer``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from farshore_protocol.config.digest import digest as digest_of
from farshore_protocol.config.layers import Layer
from sqlalchemy import Connection, RowMapping, Select, delete, func, insert, or_, select, update

from farshore_center.config.address import Address
from farshore_center.config.model import layers, revisions, schemas
from farshore_center.config.plan import layer_of

_CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One revision of a layer; ``deleted``: the layer ended with it."""

    address: Address
    rev: int
    patch: dict[str, Any]
    digest: str
    deleted: bool
    author: str
    message: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaRevision:
    """``definition`` None: deleted."""

    document: str
    rev: int
    definition: Any
    author: str
    message: str
    at_ms: int


def current(conn: Connection, address: Address) -> Revision | None:
    """The newest revision, a deletion too; None for a layer that never was."""
    found = list(
        conn.execute(_revisions(address).where(revisions.c.rev == layers.c.rev)).mappings()
    )
    return _revision(found[0]) if found else None


def history(conn: Connection, address: Address, before: int | None, limit: int) -> list[Revision]:
    """The newest first."""
    question = _revisions(address).order_by(revisions.c.rev.desc()).limit(limit)
    if before is not None:
        question = question.where(revisions.c.rev < before)
    return [_revision(row) for row in conn.execute(question).mappings()]


def revision(conn: Connection, address: Address, rev: int) -> Revision | None:
    found = list(conn.execute(_revisions(address).where(revisions.c.rev == rev)).mappings())
    return _revision(found[0]) if found else None


def live(conn: Connection, addresses: Iterable[Address] | None = None) -> dict[Address, Layer]:
    """The layers that exist; of these addresses, or all."""
    question = _all().where(layers.c.live, revisions.c.rev == layers.c.rev)
    found: dict[Address, Layer] = {}
    for clause in _chosen(addresses):
        for row in conn.execute(question if clause is None else question.where(clause)).mappings():
            address = Address(row["kind"], row["name"])
            found[address] = layer_of(address, row["rev"], orjson.loads(row["patch"]))
    return found


def live_names(conn: Connection, kind: str) -> set[str]:
    question = select(layers.c.name).where(layers.c.kind == kind, layers.c.live)
    return set(conn.execute(question).scalars())


def _chosen(addresses: Iterable[Address] | None) -> list[Any]:
    if addresses is None:
        return [None]
    by_kind: dict[str, list[str]] = {}
    for address in dict.fromkeys(addresses):
        by_kind.setdefault(address.kind, []).append(address.name)
    return [
        (layers.c.kind == kind) & layers.c.name.in_(names[start : start + _CHUNK])
        for kind, names in by_kind.items()
        for start in range(0, len(names), _CHUNK)
    ]


def add(
    conn: Connection,
    address: Address,
    patch: dict[str, Any] | None,
    *,
    author: str,
    message: str,
    now_ms: int,
) -> Revision:
    """The next revision; ``patch`` None ends the layer."""
    row = conn.execute(
        select(layers.c.id, layers.c.rev).where(
            layers.c.kind == address.kind, layers.c.name == address.name
        )
    ).one_or_none()
    rev = 1 if row is None else row.rev + 1
    made = {"rev": rev, "live": patch is not None}
    if row is None:
        new = {"kind": address.kind, "name": address.name, **made}
        layer = conn.execute(insert(layers).returning(layers.c.id), new).scalar_one()
    else:
        layer = row.id
        conn.execute(update(layers).where(layers.c.id == layer).values(**made))
    revised = Revision(
        address=address,
        rev=rev,
        patch=patch or {},
        digest=digest_of(patch or {}),
        deleted=patch is None,
        author=author,
        message=message,
        at_ms=now_ms,
    )
    conn.execute(
        insert(revisions).values(
            layer=layer,
            rev=rev,
            patch=orjson.dumps(revised.patch),
            digest=revised.digest,
            deleted=revised.deleted,
            author=author,
            message=message,
            at_ms=now_ms,
        )
    )
    return revised


def authors(conn: Connection, found: Mapping[Address, Layer]) -> list[Revision]:
    """The revisions that these layers are, for whoever asks who wrote them."""
    return [each for address in found if (each := current(conn, address)) is not None]


def remove(conn: Connection, address: Address) -> None:
    """The layer with all its revisions: whom it was for is gone."""
    conn.execute(delete(layers).where(layers.c.kind == address.kind, layers.c.name == address.name))


def has_layer(connection: Connection, path: str) -> bool:
    """Whether the group has a layer now; such a group can't be deleted."""
    return _lives(connection, Address("group", path))


def has_overlay_layer(connection: Connection, name: str) -> bool:
    """The same of an overlay."""
    return _lives(connection, Address("overlay", name))


def _lives(conn: Connection, address: Address) -> bool:
    question = select(layers.c.id).where(
        layers.c.kind == address.kind, layers.c.name == address.name, layers.c.live
    )
    return conn.execute(question).first() is not None


def rename_group(connection: Connection, old: str, new: str) -> None:
    """The layers of a group and of all below it follow it to its new path, with their revisions.

    In the transaction that moves the group. What an earlier group of the new path left behind
    (deleted layers) makes room.
    """
    below = func.substr(layers.c.name, 1, len(old) + 1) == old + "/"
    mine = (layers.c.kind == "group") & or_(layers.c.name == old, below)
    for row in connection.execute(select(layers.c.id, layers.c.name).where(mine)).all():
        path = new + row.name[len(old) :]
        rival = (layers.c.kind == "group") & (layers.c.name == path)
        connection.execute(delete(layers).where(rival, layers.c.live.is_(False)))
        connection.execute(update(layers).where(layers.c.id == row.id).values(name=path))


def stored_schemas(conn: Connection) -> dict[str, SchemaRevision]:
    """The newest of each document, deletions left out."""
    newest = (
        select(schemas.c.document, func.max(schemas.c.rev).label("rev"))
        .group_by(schemas.c.document)
        .subquery()
    )
    question = select(schemas).join(
        newest, (newest.c.document == schemas.c.document) & (newest.c.rev == schemas.c.rev)
    )
    rows = conn.execute(question.order_by(schemas.c.document)).mappings()
    return {row["document"]: _schema(row) for row in rows if row["definition"] is not None}


def newest_schema(conn: Connection, document: str) -> SchemaRevision | None:
    """A deletion too."""
    question = select(schemas).where(schemas.c.document == document)
    row = conn.execute(question.order_by(schemas.c.rev.desc()).limit(1)).mappings().one_or_none()
    return None if row is None else _schema(row)


def add_schema(conn: Connection, revised: SchemaRevision) -> None:
    definition = revised.definition
    conn.execute(
        insert(schemas).values(
            document=revised.document,
            rev=revised.rev,
            definition=None if definition is None else orjson.dumps(definition),
            author=revised.author,
            message=revised.message,
            at_ms=revised.at_ms,
        )
    )


def _all() -> Select[Any]:
    return select(layers.c.kind, layers.c.name, layers.c.live, revisions).join(
        revisions, revisions.c.layer == layers.c.id
    )


def _revisions(address: Address) -> Select[Any]:
    return _all().where(layers.c.kind == address.kind, layers.c.name == address.name)


def _revision(row: RowMapping) -> Revision:
    return Revision(
        address=Address(row["kind"], row["name"]),
        rev=row["rev"],
        patch=orjson.loads(row["patch"]),
        digest=row["digest"],
        deleted=row["deleted"],
        author=row["author"],
        message=row["message"],
        at_ms=row["at_ms"],
    )


def _schema(row: RowMapping) -> SchemaRevision:
    definition = row["definition"]
    return SchemaRevision(
        document=row["document"],
        rev=row["rev"],
        definition=None if definition is None else orjson.loads(definition),
        author=row["author"],
        message=row["message"],
        at_ms=row["at_ms"],
    )
