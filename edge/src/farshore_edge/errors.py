"""What can go wrong in the agent.

EdgeError
├── SettingsError   a setting that can't be used: names the key, the value and what was expected
├── DatabaseError   the agent's database can't be opened, read or written
│   └── DiskError   its disk can't be used now; later it may
├── RecordError     what was to become a record can't travel: too large, or no JSON
├── CollectorError  a collector could not take its sample
└── ConfigurationError  a configuration that can't be brought about: says what, where, and why
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farshore_edge.database.model import SetAside


class EdgeError(Exception):
    """Root of everything that the agent raises on purpose."""


class SettingsError(EdgeError):
    """A setting that can't be used."""


class DatabaseError(EdgeError):
    """The agent's database can't be opened, read or written."""


class DiskError(DatabaseError):
    """The disk below the database can't be used now; ``aside``: what was set aside before it failed."""

    def __init__(self, message: str, *, aside: "SetAside | None" = None) -> None:
        super().__init__(message)
        self.aside = aside


class RecordError(EdgeError):
    """What was to become a record can't travel: too large, or no JSON."""


class CollectorError(EdgeError):
    """A collector could not take its sample."""


class ConfigurationError(EdgeError):
    """A configuration, or an entry of it, that can't be brought about.

    ``code`` is for programs, ``path`` a JSON pointer into the configuration.
    """

    def __init__(self, code: str, message: str, path: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.path = path
