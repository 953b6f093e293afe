"""The agent's database: outbox, loss ledger and command ledger in one file, one transaction."""

from farshore_edge.database.late import LateDatabase, open_or_wait
from farshore_edge.database.memory import MemoryDatabase
from farshore_edge.database.model import (
    Change,
    CommandRow,
    Database,
    Freed,
    Loss,
    Mark,
    Record,
    SetAside,
    StreamState,
    TaskBooks,
    TaskChange,
    TaskRow,
    Turn,
)
from farshore_edge.database.recovery import open_database
from farshore_edge.database.sqlite import SqliteDatabase

__all__ = [
    "Change",
    "CommandRow",
    "Database",
    "Freed",
    "LateDatabase",
    "Loss",
    "Mark",
    "MemoryDatabase",
    "Record",
    "SetAside",
    "SqliteDatabase",
    "StreamState",
    "TaskBooks",
    "TaskChange",
    "TaskRow",
    "Turn",
    "open_database",
    "open_or_wait",
]
