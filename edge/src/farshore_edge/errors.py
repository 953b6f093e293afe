"""What can go wrong in the agent.

EdgeError
├── SettingsError   a setting that can't be used: names the key, the value and what was expected
├── DatabaseError   the agent's database can't be opened, read or written
├── RecordError     what was to become a record can't travel: too large, or no JSON
└── CollectorError  a collector could not take its sample
"""


class EdgeError(Exception):
    """Root of everything that the agent raises on purpose."""


class SettingsError(EdgeError):
    """A setting that can't be used."""


class DatabaseError(EdgeError):
    """The agent's database can't be opened, read or written."""


class RecordError(EdgeError):
    """What was to become a record can't travel: too large, or no JSON."""


class CollectorError(EdgeError):
    """A collector could not take its sample."""
