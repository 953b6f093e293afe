"""Rows of groups and overlays: plain functions of a connection."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from sqlalchemy import Connection, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from farshore_center.groups.model import groups, overlays
from farshore_center.groups.overlay import Overlay
from farshore_center.groups.tree import Group
from farshore_center.nodes.model import nodes


def load_groups(connection: Connection) -> list[Group]:
    return [Group(**row) for row in connection.execute(select(groups)).mappings()]


def load_overlays(connection: Connection) -> list[Overlay]:
    return [Overlay(**row) for row in connection.execute(select(overlays)).mappings()]


def save_groups(connection: Connection, changed: Sequence[Group]) -> None:
    """Writes them, new or not."""
    if not changed:
        return
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    new = make(groups)
    kept = {name: new.excluded[name] for name in ("description", "revision")}
    connection.execute(
        new.on_conflict_do_update(index_elements=["path"], set_=kept),
        [asdict(group) for group in changed],
    )


def remove_groups(connection: Connection, paths: Iterable[str]) -> None:
    connection.execute(delete(groups).where(groups.c.path.in_(list(paths))))


def move_nodes(connection: Connection, old: str, new: str) -> None:
    """The nodes of a subtree; from now on a person has placed them."""
    path, below = nodes.c.group_path, old + "/"
    connection.execute(
        update(nodes)
        .where(or_(path == old, func.substr(path, 1, len(below)) == below))
        .values(
            group_path=new + func.substr(path, len(old) + 1),
            group_by="person",
            revision=nodes.c.revision + 1,
        )
    )


def save_overlay(connection: Connection, overlay: Overlay) -> None:
    remove_overlay(connection, overlay.name)
    connection.execute(overlays.insert(), [asdict(overlay)])


def remove_overlay(connection: Connection, name: str) -> None:
    connection.execute(delete(overlays).where(overlays.c.name == name))
