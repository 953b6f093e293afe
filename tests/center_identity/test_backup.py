"""A backup is whole or not there; a restore does not overwrite, and the next start knows of it."""

import sqlite3
from pathlib import Path

import pytest
from farshore_center.db.backup import MARKER, back_up, put_back
from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError, DirectoryInUseError


async def test_a_copy_of_a_running_center_is_whole(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'data' / 'center.db'}")
    await database.start()
    await database.write(
        lambda c: c.exec_driver_sql("INSERT INTO center VALUES (1, 'db', 'normal', 0, 0)")
    )
    size = back_up(tmp_path / "data", tmp_path / "copy.db")
    await database.stop()
    assert size == (tmp_path / "copy.db").stat().st_size
    put_back(tmp_path / "copy.db", tmp_path / "new")
    assert (tmp_path / "new" / MARKER).exists()
    connection = sqlite3.connect(tmp_path / "new" / "center.db")
    assert connection.execute("SELECT database FROM center").fetchall() == [("db",)]
    connection.close()


async def test_what_is_refused(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy.db"
    with pytest.raises(DatabaseError, match="no center's database in"):
        back_up(data, copy)
    database = Database(f"sqlite:///{data / 'center.db'}")
    await database.start()
    back_up(data, copy)
    with pytest.raises(DatabaseError, match="does not overwrite"):
        back_up(data, copy)
    with pytest.raises(DatabaseError, match="holds a database already"):
        put_back(copy, data)
    (data / "center.db").rename(data / "elsewhere.db")
    with pytest.raises(DirectoryInUseError):
        put_back(copy, data)
    await database.stop()
    with pytest.raises(DatabaseError, match="no file"):
        put_back(tmp_path / "none.db", tmp_path / "new")


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_what_is_no_center_s_database_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "strange").write_bytes(content)
    with pytest.raises(DatabaseError):
        put_back(tmp_path / "strange", tmp_path / "new")
    assert not (tmp_path / "new" / "center.db").exists()
    assert not list((tmp_path / "new").glob("*.part"))
