"""What can go wrong in the agent.

EdgeError
├── SettingsError   a setting that can't be used: names the key, the value and what was expected
├── DatabaseError   the agent's database can't be opened, read or written
├── RecordError     what was to become a record can't travel: too large, or no JSON
├── CollectorError  a collector could not take its sample
└── ConfigurationError  a configuration that can't be brought about: says what, where, and why
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


class ConfigurationError(EdgeError):
    """A configuration, or an entry of it, that can't be brought about.

    ``code`` is for programs, ``path`` a JSON pointer into the configuration.
    """

    def __init__(self, code: str, message: str, path: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.path = path
