"""Brings a database to the newest revision, by Alembic, without an alembic.ini.

The revisions travel inside the package. It does not decide when to migrate: the database does,
at every start.
"""

import threading
from pathlib import Path

import alembic.command
import alembic.util.exc
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from farshore_center.db.errors import DatabaseError

MIGRATIONS = Path(__file__).parent / "migrations"

# Alembic keeps its environment in module globals: two databases of one process take turns.
_one_at_a_time = threading.Lock()


def configuration(connection: Connection, versions: Path | None = None) -> Config:
    """Alembic's configuration for one connection; `versions` overrides where revisions lie."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    if versions is not None:
        config.set_main_option("version_locations", str(versions).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine, versions: Path | None = None) -> None:
    """Runs what is missing, in one transaction: a crash leaves the old revision or the new one."""
    with _one_at_a_time, engine.begin() as connection:
        config = configuration(connection, versions)
        try:
            alembic.command.upgrade(config, "head")
        except alembic.util.exc.CommandError as exc:
            newest = ScriptDirectory.from_config(config).get_current_head()
            raise DatabaseError(
                f"the database {engine.url.database} cannot be migrated: {exc}. This center "
                f"knows revisions up to {newest}; a database of a newer center needs that center"
            ) from exc
        _check_foreign_keys(connection)


def _check_foreign_keys(connection: Connection) -> None:
    # Enforcement is off while tables are rebuilt; what it would have refused is refused here.
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchone()
    if broken is not None:
        raise DatabaseError(
            f"the migration would leave table {broken[0]} with a row that refers to a missing "
            f"row of {broken[2]}; nothing was changed"
        )
