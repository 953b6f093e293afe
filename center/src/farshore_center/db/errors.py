"""What can go wrong with the database, and the one place that translates foreign exceptions.

CenterError
└── DatabaseError            the database could not do it: disk full, read-only, locked, newer
    └── DirectoryInUseError  another center works on the same data directory
"""

import sqlalchemy.exc

from farshore_center.errors import CenterError


class DatabaseError(CenterError):
    """The database as a whole could not do what was asked; says what, where and why."""


class DirectoryInUseError(DatabaseError):
    """Another center holds the data directory."""


def concerns_database(exc: BaseException) -> bool:
    """True when the database failed, false when the statement was refused for its content.

    A violated constraint or a bad value is the business of whoever sent the statement; a full
    disk, a lock or a damaged file is not.
    """
    if isinstance(exc, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InternalError):
        return True
    # sqlite3 reports a damaged file with its base class.
    return type(exc) is sqlalchemy.exc.DatabaseError


def describe(exc: BaseException) -> str:
    """The driver's own sentence, without SQLAlchemy's statement, parameters and links."""
    origin = getattr(exc, "orig", None)
    text = str(origin if origin is not None else exc).strip()
    return text or type(exc).__name__
