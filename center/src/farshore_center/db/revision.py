"""Writes a new migration: `python -m farshore_center.db.revision "what changes"`.

Compares the models with what the existing revisions build in a scratch database, and writes the
difference as the next numbered revision. A tool for developers; the running center never calls
it. How to use it: docs/checklists/migration.md.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import alembic.command
from alembic.script import Script

from farshore_center.db.engine import open_writer, parse_url
from farshore_center.db.migrate import MIGRATIONS, configuration, upgrade


def write_revision(message: str, versions: Path | None = None) -> Path:
    """Returns the file written; `versions` is where revisions are read and written."""
    folder = versions or MIGRATIONS / "versions"
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + len(list(folder.glob("[0-9]*.py")))
    with tempfile.TemporaryDirectory() as scratch:
        engine = open_writer(parse_url(f"sqlite:///{scratch}/scratch.db"), foreign_keys=False)
        upgrade(engine, versions)
        with engine.begin() as connection:
            script = alembic.command.revision(
                configuration(connection, versions),
                message=message,
                autogenerate=True,
                rev_id=f"{number:04d}",
            )
        engine.dispose()
    if not isinstance(script, Script):
        raise TypeError(f"expected one new revision, got {script!r}")
    return Path(script.path)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write a migration from the models' difference.")
    parser.add_argument("message", help="what changes, a few words")
    path = write_revision(parser.parse_args().message)
    sys.stdout.write(f"{path}\nRead it before you commit it: docs/checklists/migration.md\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
