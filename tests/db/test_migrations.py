"""Promises of the migrations: schema equals models, whole or not at all, newer is refused."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from farshore_center.db.revision import write_revision
from farshore_center.db.tables import metadata
from sqlalchemy import Connection

T = TypeVar("T")


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


async def _with_versions(path: Path, versions: Path | None, work: Callable[[Connection], T]) -> T:
    database = Database(f"sqlite:///{path}", versions=versions)
    await database.start()
    try:
        return await database.read(work)
    finally:
        await database.stop()


async def test_the_migrated_schema_equals_the_models(tmp_path: Path) -> None:
    assert await _with_versions(tmp_path / "center.db", None, differences) == []


async def test_a_generated_revision_builds_every_table(tmp_path: Path) -> None:
    versions = tmp_path / "versions"
    written = write_revision("initial tables", versions)
    assert written == versions / "0001_initial_tables.py"
    assert "AutoString" not in written.read_text()
    assert await _with_versions(tmp_path / "center.db", versions, differences) == []


async def test_a_second_revision_follows_the_first_and_is_empty(tmp_path: Path) -> None:
    versions = tmp_path / "versions"
    write_revision("initial tables", versions)
    second = write_revision("nothing new", versions)
    assert second.name == "0002_nothing_new.py"
    assert "down_revision = '0001'" in second.read_text()
    assert "op." not in second.read_text()
    assert await _with_versions(tmp_path / "center.db", versions, differences) == []


REVISION = """
import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {previous!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
{body}
"""


def _write(versions: Path, number: int, body: str) -> None:
    versions.mkdir(exist_ok=True)
    previous = f"{number - 1:04d}" if number > 1 else None
    text = REVISION.format(revision=f"{number:04d}", previous=previous, body=body)
    (versions / f"{number:04d}_step.py").write_text(text)


def _tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {name for (name,) in rows}
    finally:
        connection.close()


async def test_a_migration_that_fails_leaves_the_old_schema(tmp_path: Path) -> None:
    versions, path = tmp_path / "versions", tmp_path / "center.db"
    _write(versions, 1, "    op.create_table('first', sa.Column('a', sa.Integer))")
    await _with_versions(path, versions, lambda _connection: None)
    body = "    op.create_table('second', sa.Column('a', sa.Integer))\n    op.execute('nonsense')"
    _write(versions, 2, body)
    with pytest.raises(DatabaseError, match="nonsense"):
        await _with_versions(path, versions, lambda _connection: None)
    assert "first" in _tables(path)
    assert "second" not in _tables(path)
    _write(versions, 2, "    op.create_table('second', sa.Column('a', sa.Integer))")
    await _with_versions(path, versions, lambda _connection: None)
    assert "second" in _tables(path)


async def test_rebuilding_a_table_keeps_the_rows_that_refer_to_it(tmp_path: Path) -> None:
    versions, path = tmp_path / "versions", tmp_path / "center.db"
    _write(
        versions,
        1,
        "    op.execute('CREATE TABLE parents (id INTEGER PRIMARY KEY, old TEXT)')\n"
        "    op.execute('CREATE TABLE children (parent INTEGER REFERENCES parents (id)"
        " ON DELETE CASCADE)')\n"
        "    op.execute(\"INSERT INTO parents VALUES (1, 'x')\")\n"
        "    op.execute('INSERT INTO children VALUES (1)')",
    )
    await _with_versions(path, versions, lambda _connection: None)
    _write(
        versions,
        2,
        "    with op.batch_alter_table('parents', recreate='always') as batch:\n"
        "        batch.drop_column('old')",
    )
    count = sqlalchemy.text("SELECT count(*) FROM children")
    assert await _with_versions(path, versions, lambda c: c.execute(count).scalar_one()) == 1


async def test_a_migration_that_breaks_a_reference_is_refused(tmp_path: Path) -> None:
    versions, path = tmp_path / "versions", tmp_path / "center.db"
    _write(
        versions,
        1,
        "    op.execute('CREATE TABLE parents (id INTEGER PRIMARY KEY)')\n"
        "    op.execute('CREATE TABLE children (parent INTEGER REFERENCES parents (id))')\n"
        "    op.execute('INSERT INTO children VALUES (7)')",
    )
    with pytest.raises(DatabaseError, match="refers to a missing row of parents"):
        await _with_versions(path, versions, lambda _connection: None)
    assert "children" not in _tables(path)


async def test_a_database_of_a_newer_center_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "center.db"
    await _with_versions(path, None, lambda _connection: None)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(DatabaseError, match=r"9999.*newer center"):
        await _with_versions(path, None, lambda _connection: None)
