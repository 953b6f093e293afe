"""The overlays in memory, and their changes; the database follows them."""

from collections.abc import Callable, Iterable

from sqlalchemy import Connection

from farshore_center.api.problems import Problem
from farshore_center.events.model import Draft
from farshore_center.groups import rules, store
from farshore_center.groups.changes import Changes
from farshore_center.groups.overlay import Overlay


class OverlayBook:
    """``changed`` is called after the commit of each change; ``in_use``: whether an overlay has a
    layer of configuration, asked in the transaction that deletes it."""

    def __init__(
        self,
        changes: Changes,
        *,
        now_ms: Callable[[], int],
        changed: Callable[[], None],
        in_use: Callable[[Connection, str], bool],
    ) -> None:
        self._changes = changes
        self._now_ms = now_ms
        self._changed = changed
        self._in_use = in_use
        self._overlays: dict[str, Overlay] = {}

    def fill(self, overlays: Iterable[Overlay]) -> None:
        self._overlays = {overlay.name: overlay for overlay in overlays}

    def all(self) -> tuple[Overlay, ...]:
        """By ascending priority."""
        return tuple(sorted(self._overlays.values(), key=lambda overlay: overlay.priority))

    def names(self) -> list[str]:
        return list(self._overlays)

    def get(self, name: str) -> Overlay:
        found = self._overlays.get(name)
        if found is None:
            raise Problem(
                status=404,
                title="No such overlay",
                detail=f"there is no overlay {name[:64]!a}",
                field="name",
            )
        return found

    def text_of(self, name: str) -> str | None:
        found = self._overlays.get(name)
        return None if found is None else found.selector

    async def put(
        self,
        name: str,
        *,
        selector: str,
        priority: int,
        description: str = "",
        if_match: str | None = None,
    ) -> tuple[Overlay, bool]:
        """Makes or replaces one; and whether it was made."""
        return await self._changes.one(self._put(name, selector, priority, description, if_match))

    async def _put(
        self, name: str, selector: str, priority: int, description: str, if_match: str | None
    ) -> tuple[Overlay, bool]:
        rules.check_overlay_name(name)
        before = self._overlays.get(name)
        rules.check_match(name, None if before is None else before.revision, if_match)
        text = rules.check_overlay_selector(selector)
        rules.check_priority(name, priority, self._overlays.values())
        rules.check_description(description)
        now_ms = self._now_ms()
        overlay = Overlay(
            name=name,
            selector=text,
            priority=priority,
            description=description,
            created_ms=now_ms if before is None else before.created_ms,
            updated_ms=now_ms,
            revision=1 if before is None else before.revision + 1,
        )
        draft = Draft(
            kind="overlay.changed", data={"name": name, "selector": text, "priority": priority}
        )
        await self._changes.write(lambda connection: store.save_overlay(connection, overlay), draft)
        self._overlays[name] = overlay
        self._changed()
        return overlay, before is None

    async def delete(self, name: str, *, if_match: str | None = None) -> None:
        await self._changes.one(self._delete(name, if_match))

    async def _delete(self, name: str, if_match: str | None) -> None:
        rules.check_match(name, self.get(name).revision, if_match)

        def work(connection: Connection) -> None:
            if self._in_use(connection, name):
                raise Problem(
                    status=409,
                    title="The overlay has configuration",
                    field="name",
                    detail=f"{name} has a layer of configuration",
                    expected="an overlay whose layer was deleted",
                )
            store.remove_overlay(connection, name)

        await self._changes.write(work, Draft(kind="overlay.deleted", data={"name": name}))
        del self._overlays[name]
        self._changed()
