"""Which handler brings which document about, and reading a configuration by them.

The agent's own are handed over; others are looked for among the entry points of the group
``farshore.config_handlers``, and only when a configuration holds a document that is not the agent's.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from farshore_protocol.config.documents import DriftDocument, HealthDocument
from farshore_protocol.config.pointer import pointer

from farshore_edge.config.documents import converted
from farshore_edge.config.handlers.plain import Plain
from farshore_edge.config.model import Change, ConfigHandler, HandlerTools, Site
from farshore_edge.errors import ConfigurationError

log = logging.getLogger(__name__)

GROUP = "farshore.config_handlers"

Discover = Callable[[str], ConfigHandler | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """A configuration, checked: each handler with its document, in their order."""

    parts: tuple[tuple[ConfigHandler, Any], ...]
    health: Mapping[str, HealthDocument]
    drift: DriftDocument

    def paths(self) -> Iterator[str]:
        for handler, document in self.parts:
            yield from handler.paths(document)


def nowhere(document: str) -> ConfigHandler | None:  # noqa: ARG001 # a Discover
    """For nodes that have only what they were given."""
    return None


def by_entry_point(tools: HandlerTools) -> Discover:
    def discover(document: str) -> ConfigHandler | None:
        from importlib.metadata import entry_points  # costs memory that most agents never need

        for point in entry_points(group=GROUP, name=document):
            handler: ConfigHandler = point.load()(tools)
            return handler
        return None

    return discover


class Guarded:
    """A handler whose defects stay with its document: what it raises besides the contract's errors
    becomes ConfigurationError ``broken``, and does not end the agent."""

    def __init__(self, handler: ConfigHandler) -> None:
        self._handler = handler
        self.document, self.kind = handler.document, handler.kind
        self.order, self.volatile = handler.order, handler.volatile

    def paths(self, document: Any) -> Sequence[str]:
        with _understood(pointer((self.document,))):
            return self._handler.paths(document)

    async def plan(self, document: Any, site: Site) -> Sequence[Change]:
        with _understood(pointer((self.document,))):
            return await self._handler.plan(document, site)

    async def stage(self, change: Change) -> None:
        with _understood(change.path):
            await self._handler.stage(change)

    async def apply(self, change: Change) -> None:
        with _understood(change.path):
            await self._handler.apply(change)

    async def undo(self, change: Change) -> None:
        with _understood(change.path):
            await self._handler.undo(change)

    async def discard(self, change: Change, *, kept: bool) -> None:
        with _understood(change.path):
            await self._handler.discard(change, kept=kept)


@contextlib.contextmanager
def _understood(path: str) -> Iterator[None]:
    try:
        yield
    except (ConfigurationError, OSError):
        raise
    except Exception as exc:
        log.exception("a handler is broken", extra={"path": path})
        raise ConfigurationError("broken", f"{type(exc).__name__}: {exc}", path) from exc


class Registry:
    def __init__(self, handlers: Iterable[ConfigHandler], discover: Discover) -> None:
        own = (Plain("health"), Plain("drift"), *handlers)
        self._handlers: dict[str, ConfigHandler] = {each.document: Guarded(each) for each in own}
        self._discover = discover

    def handler(self, document: str) -> ConfigHandler | None:
        found = self._handlers.get(document)
        if found is None:
            try:
                found = self._discover(document)
            except Exception as exc:  # a foreign package may fail in any way
                message = f"{document}: its handler can't be loaded: {type(exc).__name__}: {exc}"
                raise ConfigurationError("bad_handler", message, pointer((document,))) from exc
            if found is not None:
                found = self._handlers[document] = Guarded(found)
        return found

    def read(self, config: Mapping[str, Any]) -> Documents:
        """Raises ConfigurationError for a configuration that does not fit its types."""
        parts: list[tuple[ConfigHandler, Any]] = []
        for document, value in config.items():
            handler = self.handler(document)
            if handler is None:
                message = f"{document}: this node has no handler for it"
                raise ConfigurationError("no_handler", message, pointer((document,)))
            parts.append((handler, converted(document, handler.kind, value)))
        for handler in self._handlers.values():
            if handler.volatile and handler.document not in config:
                parts.append((handler, converted(handler.document, handler.kind, {})))
        parts.sort(key=lambda part: (part[0].order, part[0].document))
        plain = {handler.document: document for handler, document in parts}
        documents = Documents(
            parts=tuple(parts),
            health=plain.get("health", {}),
            drift=plain.get("drift", DriftDocument()),
        )
        _check_paths(documents)
        return documents


def _check_paths(documents: Documents) -> None:
    seen = set()
    for path in documents.paths():
        if path in seen:
            raise ConfigurationError("conflict", f"{path}: two entries write this file")
        seen.add(path)
