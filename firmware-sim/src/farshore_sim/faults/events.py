"""What a process did to the files of one folder, as events in the order in which its calls returned.

They are recorded by ``recording``, read from a log by ``trace``, and judged by ``crash_model``.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """A file of this name came into the folder, empty."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    name: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate:
    """The file has this size from now on; a longer one is cut, a shorter one gets zeros."""

    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlink:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename:
    name: str
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """A sync of a file returned; it covers the events before ``since``, when it was called."""

    name: str
    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncFailed:
    """A sync of a file returned an error."""

    name: str
    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncFolder:
    """A sync of the folder returned: which names there are, before ``since``, is durable."""

    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A line that the process wrote into the record."""

    text: str


Event = Create | Write | Truncate | Unlink | Rename | Sync | SyncFailed | SyncFolder | Mark
"""In the order in which the calls returned. A call that failed is none, but for a sync."""
