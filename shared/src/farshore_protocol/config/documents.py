"""The documents that every agent understands: the first level of an effective configuration.

Each key of the configuration is a document, and a handler at the node brings it about. Those here
come with the agent; others by entry point (group ``farshore.config_handlers``). What is kept by name
is a map, so that layers can change or remove (null) one entry. JSON Schema (2020-12) of each is made
from these types by ``msgspec.json.schema``.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Text = Annotated[str, Meta(max_length=256 * 1024)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Path = Annotated[str, Meta(min_length=2, max_length=1024, pattern=r"^/[^\x00]+$")]
Mode = Annotated[str, Meta(pattern=r"^0?[0-7]{3,4}$")]
Argv = Annotated[list[str], Meta(min_length=1, max_length=64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDocument:
    """``agent``: the agent's own settings that may change while it runs; absent: as it started."""

    sample_interval_s: Annotated[float, Meta(ge=0.1, le=3600)] | None = None
    batch_s: Annotated[float, Meta(ge=0.1, le=3600)] | None = None
    heartbeat_s: Annotated[float, Meta(ge=1, le=3600)] | None = None
    outbox_max_bytes: Annotated[int, Meta(ge=1024 * 1024, le=2**50)] | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDocument:
    """``files/<path>``: just one of ``content`` and ``template`` (Jinja over ``node``, ``group``,
    ``labels``, ``facts``), or ``state: absent``."""

    content: Text | None = None
    template: Text | None = None
    state: Literal["present", "absent"] = "present"
    mode: Mode = "0644"
    owner: Name | None = None
    group: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDocument:
    """``services/<unit>``: a systemd unit. ``restart_on``: paths of ``files``, names of ``packages``;
    a change of one of them restarts the unit."""

    enabled: bool | None = None
    running: bool | None = None
    restart_on: list[Name] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageDocument:
    """``packages/<name>``: a Debian package; a ``version`` is exact."""

    state: Literal["present", "absent"] = "present"
    version: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnChange:
    """What tells a local program of its new document: a command, or a signal to the process whose
    id stands in ``pid_file``."""

    command: Argv | None = None
    signal: Annotated[str, Meta(pattern=r"^SIG[A-Z0-9]+$")] | None = None
    pid_file: Path | None = None
    timeout_s: Seconds = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AppDocument:
    """``app/<name>``: ``document`` is written to ``path`` as JSON for a local program."""

    path: Path
    document: Any = None
    mode: Mode = "0644"
    owner: Name | None = None
    group: Name | None = None
    on_change: OnChange | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthDocument:
    """``health/<name>``: a check that must pass ``within_s`` after a change; just one kind is set.

    ``command`` ends with 0; ``http`` answers with a status below 400; ``tcp`` (``HOST:PORT``)
    accepts; the file ``fresh`` was written at most ``max_age_s`` ago.
    """

    command: Argv | None = None
    http: Name | None = None
    tcp: Name | None = None
    fresh: Path | None = None
    max_age_s: Seconds | None = None
    timeout_s: Seconds = 5.0
    interval_s: Seconds = 1.0
    within_s: Seconds = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftDocument:
    """``drift``: how the node watches over what it has applied."""

    interval_s: Annotated[float, Meta(ge=1, le=86_400)] = 300.0
    on_difference: Literal["repair", "report"] = "repair"
    watch_files: bool = True


DOCUMENTS: dict[str, Any] = {
    "agent": AgentDocument,
    "files": dict[Path, FileDocument],
    "services": dict[Name, ServiceDocument],
    "packages": dict[Name, PackageDocument],
    "app": dict[Name, AppDocument],
    "health": dict[Name, HealthDocument],
    "drift": DriftDocument,
}
"""The type of each document, by its key."""
