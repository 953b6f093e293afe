"""Lets a program open its SQLite databases with other settings than it asks for.

For programs that are put on trial: a database that syncs less must be found out, and one that makes
checkpoints often shows in a short workload what others show in days.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any


def override(pragmas: Sequence[str]) -> None:
    """From now on in this process: ``name=value`` stands, whatever a program sets ``name`` to."""
    wanted = dict(pragma.split("=", 1) for pragma in pragmas)

    class Overridden(sqlite3.Connection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            for name, value in wanted.items():
                super().execute(f"PRAGMA {name}={value}").close()

        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            words = sql.replace("=", " ").split()
            if len(words) == 3 and words[0].upper() == "PRAGMA" and words[1] in wanted:
                sql = f"PRAGMA {words[1]}={wanted[words[1]]}"
            return super().execute(sql, *args)

    open_as_asked = sqlite3.dbapi2.connect

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        made: sqlite3.Connection = open_as_asked(*args, **{"factory": Overridden, **kwargs})
        return made

    sqlite3.connect = connect  # type: ignore[assignment] # the same but for its overloads
    sqlite3.dbapi2.connect = connect  # type: ignore[assignment] # where SQLAlchemy finds it
