"""Verbs about the node's configuration."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from farshore_protocol.commands.catalogue.model import Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigOverrideArgs:
    """``set`` needs ``config`` (an RFC 7396 merge patch), ``author`` and ``reason``; without
    ``ttl_s`` it stands until it is cleared."""

    action: Literal["show", "set", "clear"] = "show"
    config: dict[str, Any] | None = None
    author: Annotated[str, Meta(max_length=256)] = ""
    reason: Annotated[str, Meta(max_length=1024)] = ""
    ttl_s: Annotated[float, Meta(gt=0, le=366 * 86_400)] | None = None


CONFIG = (
    Verb(
        name="config-override",
        summary="Shows, sets or clears the node's own layer of configuration above all others.",
        risk="change",
        idempotent=True,
        timeout_s=120,
        args=ConfigOverrideArgs,
    ),
    Verb(
        name="config-retry",
        summary="Forgets which configurations have failed, and tries the desired one again.",
        risk="change",
        idempotent=True,
        timeout_s=120,
    ),
)
