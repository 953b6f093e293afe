"""Groups and overlays for the rest of the center: look at them, change them, ask who is in them.

Decisions are made on what is in memory and take effect there at once, so nothing comes between; then
they are written, and taken back if that fails. It does not know configuration: ``layers`` is told.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import structlog
from sqlalchemy import Connection

from farshore_center.api.problems import Problem
from farshore_center.db.database import Database
from farshore_center.events.model import Draft
from farshore_center.groups import rules, store
from farshore_center.groups.changes import Changes
from farshore_center.groups.overlay import Overlay
from farshore_center.groups.overlays import OverlayBook
from farshore_center.groups.selection import Selection
from farshore_center.groups.tree import Group, GroupTree, in_subtree, moved, parent_of
from farshore_center.nodes.registry import NodeEntry
from farshore_center.nodes.service import NodeService

log = structlog.get_logger(__name__)

Changed = Callable[[frozenset[str] | None], None]
"""Told after the commit whose configuration may be another now; None: maybe everybody's."""


class Layers(Protocol):
    """What the configuration's room is asked and told about groups, inside the transaction."""

    def has_layer(self, connection: Connection, path: str, /) -> bool: ...
    def has_overlay_layer(self, connection: Connection, name: str, /) -> bool: ...
    def rename_group(self, connection: Connection, old: str, new: str, /) -> None: ...


class Named(Protocol):
    """Who names groups elsewhere, asked inside the transaction; raises Problem where it hinders."""

    def moving(self, connection: Connection, old: str, new: str, /) -> None: ...
    def deleting(self, connection: Connection, path: str, /) -> None: ...


def _nobody_listens(_nodes: frozenset[str] | None) -> None:
    """Until the configuration's room does."""


class GroupService:
    def __init__(
        self,
        database: Database,
        nodes: NodeService,
        *,
        now_ms: Callable[[], int],
        layers: Layers | None = None,
    ) -> None:
        self._database = database
        self._nodes = nodes
        self._now_ms = now_ms
        self.layers = layers
        self.named: Named | None = None
        self.changed: Changed = _nobody_listens
        self._changes = Changes(database, nodes.events)
        self.book = OverlayBook(
            self._changes,
            now_ms=now_ms,
            changed=lambda: self.changed(None),
            in_use=self._has_overlay_layer,
        )
        self.selection = Selection(
            database, nodes.registry, saved=self.book.text_of, names=self.book.names
        )

    async def start(self) -> None:
        self.book.fill(await self._database.read(store.load_overlays))

    def _has_overlay_layer(self, connection: Connection, name: str) -> bool:
        return self.layers is not None and self.layers.has_overlay_layer(connection, name)

    @property
    def tree(self) -> GroupTree:
        return self._nodes.tree

    def tell(self, nodes: frozenset[str] | None) -> None:
        """Nodes' labels, facts or group changed elsewhere."""
        self.changed(nodes)

    async def members(self, selector: str) -> frozenset[str]:
        """The nodes that ``selector`` means now; SelectorError for a bad one."""
        return await self.selection.members(selector)

    def overlays(self) -> tuple[Overlay, ...]:
        """By ascending priority: a later one wins."""
        return self.book.all()

    def inside(self, path: str) -> list[NodeEntry]:
        """The nodes of a subtree."""
        return [e for e in self._nodes.registry.all() if in_subtree(e.group, path)]

    def group(self, path: str) -> Group:
        group = self.tree.get(path)
        if group is None:
            raise Problem(
                status=404,
                title="No such group",
                detail=f"there is no group {path[:512]!a}",
                field="path",
            )
        return group

    async def put_group(
        self,
        path: str,
        *,
        description: str | None,
        parents: bool = False,
        if_match: str | None = None,
        new_only: bool = False,
    ) -> tuple[Group, bool]:
        """Makes the group, or changes its description; and whether it was made."""
        return await self._changes.one(
            self._put_group(path, description, parents, if_match, new_only)
        )

    async def _put_group(
        self,
        path: str,
        description: str | None,
        parents: bool,
        if_match: str | None,
        new_only: bool,
    ) -> tuple[Group, bool]:
        rules.check_path(path)
        before = self.tree.get(path)
        if new_only:
            rules.check_free(self.tree, path)
        rules.check_match(path, None if before is None else before.revision, if_match)
        if description is not None:
            rules.check_description(description)
        if before is None and not parents:
            rules.check_parent(self.tree, path, field="path")
        now_ms = self._now_ms()
        made = self.tree.grow(parent_of(path), now_ms, "person")
        if before is None:
            group = Group(path=path, description=description or "", created_ms=now_ms)
        else:
            text = before.description if description is None else description
            group = replace(before, description=text, revision=before.revision + 1)
        self.tree.put(group)
        rows = [*made, group]
        kind = "group.created" if before is None else "group.changed"
        draft = Draft(kind=kind, data={"path": path, "description": group.description})

        def undo() -> None:
            if before is not None:
                self.tree.put(before)
                return
            for each in reversed(rows):
                if not self.tree.children(each.path):  # else a birth has named one below it
                    self.tree.remove(each.path)

        await self._changes.write(
            lambda connection: store.save_groups(connection, rows), draft, undo
        )
        self.tree.stored(rows)
        return group, before is None

    async def move_group(
        self, path: str, to: str, *, parents: bool = False, if_match: str | None = None
    ) -> tuple[Group, int]:
        """Moves a subtree with its nodes and layers; the group, and how many nodes came along."""
        return await self._changes.one(self._move_group(path, to, parents, if_match))

    async def _move_group(
        self, path: str, to: str, parents: bool, if_match: str | None
    ) -> tuple[Group, int]:
        group = self.group(path)
        rules.check_match(path, group.revision, if_match)
        rules.check_move(self.tree, path, to)
        if not parents:
            rules.check_parent(self.tree, to, field="to")
        originals = self.tree.subtree(path)
        made = self.tree.grow(parent_of(to), self._now_ms(), "person")
        renamed = self.tree.rename(path, to)
        entries = self.inside(path)
        before = {entry.name: (entry.group, entry.group_by) for entry in entries}
        for entry in entries:
            entry.group, entry.group_by = moved(entry.group, path, to), "person"
            entry.revision += 1

        def work(connection: Connection) -> None:
            if self.named is not None:
                self.named.moving(connection, path, to)
            store.remove_groups(connection, [each.path for each in originals])
            store.save_groups(connection, [*made, *renamed])
            store.move_nodes(connection, path, to)
            if self.layers is not None:
                self.layers.rename_group(connection, path, to)

        def undo() -> None:
            for entry in entries:
                if in_subtree(entry.group, to):
                    entry.group, entry.group_by = before[entry.name]
            for each in [*renamed, *made]:
                self.tree.remove(each.path)
            for each in originals:
                self.tree.put(each)
            for entry in self._nodes.registry.all():  # a birth may have named one of the new paths
                self.tree.grow(entry.group, self._now_ms(), "node")

        draft = Draft(kind="group.moved", data={"path": path, "to": to, "nodes": len(entries)})
        await self._changes.write(work, draft, undo)
        self.tree.stored([*made, *renamed])
        log.info("group moved", path=path, to=to, nodes=len(entries))
        self.changed(frozenset(before))
        return self.group(to), len(entries)

    async def delete_group(self, path: str, *, if_match: str | None = None) -> None:
        await self._changes.one(self._delete_group(path, if_match))

    async def _delete_group(self, path: str, if_match: str | None) -> None:
        group = self.group(path)
        rules.check_match(path, group.revision, if_match)
        below = len(self.tree.subtree(path)) - 1
        rules.check_empty(path, nodes=len(self.inside(path)), groups=below)
        self.tree.remove(path)

        def work(connection: Connection) -> None:
            if self.layers is not None and self.layers.has_layer(connection, path):
                raise Problem(
                    status=409,
                    title="The group has configuration",
                    field="path",
                    detail=f"{path} has a layer of configuration",
                    expected="a group whose layer was deleted",
                )
            if self.named is not None:
                self.named.deleting(connection, path)
            store.remove_groups(connection, [path])

        def undo() -> None:
            if path not in self.tree:
                self.tree.put(group)

        await self._changes.write(work, Draft(kind="group.deleted", data={"path": path}), undo)
