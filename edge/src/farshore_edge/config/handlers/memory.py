"""Handlers of a simulated node: documents are brought about in memory, with the same checks.

They pass the same conformance suite as the real ones, and touch nothing of the machine.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from farshore_protocol.config.documents import DOCUMENTS
from farshore_protocol.config.pointer import pointer

from farshore_edge.config.handlers.files import content_of
from farshore_edge.config.model import Change, ConfigHandler, Site

_ORDERS = {"packages": 10, "files": 20, "app": 30, "services": 70}


class MemoryHandler:
    """One document of named entries. ``held``: what the simulated machine has."""

    volatile = False

    def __init__(self, document: str) -> None:
        self.document = document
        self.kind: Any = DOCUMENTS[document]
        self.order = _ORDERS[document]
        self.held: dict[str, Any] = {}

    def paths(self, document: Any) -> Sequence[str]:  # noqa: ARG002 # the contract
        return ()

    async def plan(self, document: dict[str, Any], site: Site) -> Sequence[Change]:
        changes = []
        for name, entry in document.items():
            at = pointer((self.document, name))
            wanted = self._wanted(entry, site, at)
            found = self.held.get(name)
            if wanted != found:
                changes.append(
                    Change(
                        document=self.document,
                        name=name,
                        path=at,
                        expected=str(wanted),
                        found=str(found),
                        want={"entry": wanted},
                        before={"entry": found},
                    )
                )
        return changes

    def _wanted(self, entry: Any, site: Site, at: str) -> Any:
        if self.document == "files":
            content = content_of(entry, site, at)
            return None if content is None else [content.decode(), entry.mode]
        plain = asdict(entry)
        return None if plain.get("state") == "absent" else plain

    async def stage(self, change: Change) -> None:
        """Nothing to prepare."""

    async def apply(self, change: Change) -> None:
        self._bring(change.name, change.want["entry"])

    async def undo(self, change: Change) -> None:
        self._bring(change.name, change.before["entry"])

    def _bring(self, name: str, entry: Any) -> None:
        if entry is None:
            self.held.pop(name, None)
        else:
            self.held[name] = entry

    async def discard(self, change: Change, *, kept: bool) -> None:
        """Nothing was prepared."""


def memory_handlers() -> list[ConfigHandler]:
    return [MemoryHandler(document) for document in _ORDERS]
