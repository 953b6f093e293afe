"""Two small tables that the tests write to, and works over them."""

from collections.abc import Callable

from sqlalchemy import Connection, text


def insert_note(note: str) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        connection.execute(text("INSERT INTO notes (note) VALUES (:note)"), {"note": note})

    return work


def all_notes(connection: Connection) -> list[str]:
    return list(connection.execute(text("SELECT note FROM notes ORDER BY id")).scalars())


def create_tables(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE notes (id INTEGER PRIMARY KEY, note TEXT UNIQUE)"))
    connection.execute(
        text(
            "CREATE TABLE children (parent INTEGER REFERENCES notes (id)"
            " DEFERRABLE INITIALLY DEFERRED)"
        )
    )
