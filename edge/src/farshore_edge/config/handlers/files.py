"""``files``: text files with content or template, mode and owner; below the allowed roots only."""

import asyncio
from collections.abc import Sequence
from typing import Any

from farshore_protocol.config.documents import DOCUMENTS, FileDocument
from farshore_protocol.config.pointer import pointer

from farshore_edge.config.folders import Folders
from farshore_edge.config.model import Change, HandlerTools, Site
from farshore_edge.config.placing import Placer, Wanted, gid_of, uid_of
from farshore_edge.config.render import render
from farshore_edge.errors import ConfigurationError


def content_of(entry: FileDocument, site: Site, at: str) -> bytes | None:
    """What the file is to hold, None for no file. Raises ConfigurationError."""
    sources = (entry.content is not None) + (entry.template is not None)
    if sources != (entry.state == "present"):
        message = "expected content or template, just one of them; neither for state absent"
        raise ConfigurationError("bad_document", message, at)
    if entry.template is not None:
        return render(entry.template, site, f"{at}/template")
    return None if entry.content is None else entry.content.encode()


class Files:
    document = "files"
    kind = DOCUMENTS["files"]
    order = 20
    volatile = False

    def __init__(self, tools: HandlerTools) -> None:
        self._placer = Placer(Folders(tools.roots, tools.data.parent), tools.data / "backup")

    def paths(self, document: dict[str, FileDocument]) -> Sequence[str]:
        return list(document)

    async def plan(self, document: dict[str, FileDocument], site: Site) -> Sequence[Change]:
        return await asyncio.to_thread(self._plan, document, site)

    def _plan(self, document: dict[str, FileDocument], site: Site) -> list[Change]:
        changes = []
        for path, entry in document.items():
            at = pointer((self.document, path))
            wanted = Wanted(
                path=path,
                content=content_of(entry, site, at),
                mode=int(entry.mode, 8),
                uid=uid_of(entry.owner, at),
                gid=gid_of(entry.group, at),
            )
            changes.append(self._placer.plan(self.document, path, at, wanted))
        return [change for change in changes if change is not None]

    async def stage(self, change: Change) -> None:
        await asyncio.to_thread(self._placer.stage, change)

    async def apply(self, change: Change) -> None:
        await asyncio.to_thread(self._placer.apply, change)

    async def undo(self, change: Change) -> None:
        await asyncio.to_thread(self._placer.undo, change)

    async def discard(self, change: Change, *, kept: bool) -> None:
        await asyncio.to_thread(self._placer.discard, change, kept=kept)


def make(tools: HandlerTools) -> Any:
    return Files(tools)
