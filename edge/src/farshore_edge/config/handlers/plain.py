"""``health`` and ``drift``: documents that change nothing by themselves, only checked here."""

from collections.abc import Sequence
from typing import Any

from farshore_protocol.config.documents import DOCUMENTS, HealthDocument
from farshore_protocol.config.pointer import pointer

from farshore_edge.config.model import Change, HandlerTools, Site
from farshore_edge.errors import ConfigurationError


class Plain:
    """A document that others read."""

    order = 50
    volatile = False

    def __init__(self, document: str, tools: HandlerTools | None = None) -> None:
        """``tools``: of a real node, which may run no programs."""
        self.document = document
        self._tools = tools
        self.kind: Any = DOCUMENTS[document]

    def paths(self, document: Any) -> Sequence[str]:  # noqa: ARG002 # the contract
        return ()

    async def plan(self, document: Any, site: Site) -> Sequence[Change]:  # noqa: ARG002 # the contract
        if self.document == "health":
            for name, check in document.items():
                at = pointer((self.document, name))
                _check(check, at)
                if check.command is not None and self._tools is not None:
                    self._tools.check_may_run(f"{at}/command")
        return ()

    async def stage(self, change: Change) -> None:
        """There are no changes."""

    async def apply(self, change: Change) -> None:
        """There are no changes."""

    async def undo(self, change: Change) -> None:
        """There are no changes."""

    async def discard(self, change: Change, *, kept: bool) -> None:
        """There are no changes."""


def _check(check: HealthDocument, at: str) -> None:
    kinds = [check.command, check.http, check.tcp, check.fresh]
    if sum(kind is not None for kind in kinds) != 1:
        message = "expected just one of command, http, tcp and fresh"
        raise ConfigurationError("bad_document", message, at)
    if (check.fresh is None) != (check.max_age_s is None):
        message = "fresh and max_age_s belong together"
        raise ConfigurationError("bad_document", message, at)
    if check.tcp is not None and not _is_address(check.tcp):
        raise ConfigurationError("bad_document", f"{check.tcp}: expected HOST:PORT", f"{at}/tcp")
    if check.http is not None and not check.http.startswith(("http://", "https://")):
        message = f"{check.http}: expected http:// or https://"
        raise ConfigurationError("bad_document", message, f"{at}/http")


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536
