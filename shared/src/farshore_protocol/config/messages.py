"""``desired/config`` and ``rep/config``: what a node should run, and what it says of it."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta

from farshore_protocol.messages.node import Label
from farshore_protocol.messages.record import Count, Envelope, WallMillis

Digest = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$")]
Pointer = Annotated[str, Meta(max_length=1024)]
"""An RFC 6901 JSON pointer into the effective configuration; the empty one is all of it."""

MAX_CONFIG_BYTES = 512 * 1024
"""Of an effective configuration, as canonical JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredConfig:
    """``down/<node>/desired/config``, zlib-packed above 1 KB (``telemetry.pack_body``).

    ``rev`` counts the configurations of this node, 1, 2, 3 …; ``digest`` is of ``config``.
    ``group`` and ``labels`` are what the center has of the node: templates and the node's group
    topics follow them.
    """

    rev: Count
    digest: Digest
    config: dict[str, Any]
    group: str = ""
    labels: dict[str, Label] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What is not as it should be: ``path`` points into the configuration, the texts are bounded."""

    path: Pointer
    expected: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigError:
    """Why a configuration is not running: the ``stage`` it failed in (a state of ``NODE_CONFIG``),
    a ``code`` for programs, a ``path`` into the configuration, a ``message`` for people."""

    stage: str
    code: str
    message: str
    path: Pointer = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """The local layer above all others, set at the node: an RFC 7396 merge patch."""

    config: dict[str, Any]
    author: str
    reason: str
    set_ms: WallMillis
    expires_ms: WallMillis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReport(Envelope):
    """``rep/config``. ``rev`` and ``digest`` are of the desired configuration that this is about.

    ``running``: digest of the desired configuration that truly runs (the last good one after a
    rollback; None before any). ``effective``: digest of what runs with the local override merged.
    """

    rev: Count
    digest: Digest
    state: Literal["applied", "drifted", "rolled_back", "failed"]
    running: Digest | None = None
    running_rev: Count | None = None
    effective: Digest | None = None
    error: ConfigError | None = None
    differences: tuple[Difference, ...] = ()
    override: Override | None = None
