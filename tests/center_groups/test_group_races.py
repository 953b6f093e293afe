"""Births, moves, deletions and placements at once: memory and database end as one, and it is a tree."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from farshore_center.api.problems import Problem
from farshore_center.db.database import Database
from farshore_center.events import EventLog
from farshore_center.events.model import Draft
from farshore_center.groups import store as group_store
from farshore_center.groups.service import GroupService
from farshore_center.groups.tree import parent_of
from farshore_center.nodes.model import nodes
from farshore_center.nodes.service import NodeService
from farshore_protocol.link import Message
from farshore_protocol.messages import Birth
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

Step = tuple[str, str, Any]

PATHS = st.sampled_from(["a", "b", "a/x", "b/x", "a/x/y", "b/x/y", "c", "c/a"])
NAMES = st.sampled_from(["n1", "n2", "n3"])
STEPS = st.one_of(
    st.tuples(st.just("birth"), NAMES, PATHS),
    st.tuples(st.just("move"), PATHS, PATHS),
    st.tuples(st.just("delete"), PATHS, st.none()),
    st.tuples(st.just("create"), PATHS, st.none()),
    st.tuples(st.just("place"), NAMES, PATHS),
)


class Desk:
    """Nodes and groups on a database, without a broker and HTTP."""

    def __init__(self, path: Path) -> None:
        self.database = Database(f"sqlite:///{path}")
        events = EventLog(self.database, lambda: 1)
        self.nodes = NodeService(self.database, events, self, now_ms=lambda: 1, now_s=lambda: 1.0)
        self.groups = GroupService(self.database, self.nodes, now_ms=lambda: 1)
        self.boots = 0

    async def send(self, message: Message) -> None:
        raise AssertionError("nobody is told anything here")

    async def start(self) -> None:
        await self.database.start()
        await self.nodes.start()
        await self.groups.start()

    async def do(self, step: Step, turns: int) -> None:
        """After so many turns of the loop: what begins before it may not be written yet."""
        for _ in range(turns):
            await asyncio.sleep(0)
        what, first, second = step
        try:
            match what:
                case "birth":
                    await self.birth(first, second)
                case "move":
                    await self.groups.move_group(first, second, parents=True)
                case "delete":
                    await self.groups.delete_group(first)
                case "create":
                    await self.groups.put_group(first, description="made", parents=True)
                case "place":
                    await self.place(first, second)
        except Problem:
            pass  # refused: the state must be sound all the same

    async def birth(self, name: str, group: str) -> None:
        self.boots += 1
        word = {"protocol": 1, "agent_version": "1", "conn": 1, "up_ms": 1, "ts": 1, "streams": {}}
        await self.nodes.born(name, Birth(boot=f"b{self.boots}", group=group, **word))  # type: ignore[arg-type]

    async def place(self, name: str, group: str) -> None:
        """As PATCH of a node does it."""
        entry = self.nodes.registry.get(name)
        if entry is None or group not in self.nodes.tree:
            return
        entry.group, entry.group_by = group, "person"
        entry.revision += 1
        await self.nodes.write(entry, [Draft(kind="node.changed", node=name, data={})])

    def in_memory(self) -> tuple[Any, Any]:
        entries = self.nodes.registry.all()
        return (
            {(g.path, g.description, g.revision) for g in self.nodes.tree.all()},
            {(e.name, e.group, e.group_by, e.revision) for e in entries},
        )

    async def in_database(self) -> tuple[Any, Any]:
        def work(connection: Connection) -> tuple[Any, Any]:
            columns = (nodes.c.name, nodes.c.group_path, nodes.c.group_by, nodes.c.revision)
            return (
                {(g.path, g.description, g.revision) for g in group_store.load_groups(connection)},
                {tuple(row) for row in connection.execute(select(*columns))},
            )

        return await self.database.read(work)


async def played(bursts: list[list[tuple[Step, int]]], path: Path) -> None:
    desk = Desk(path)
    await desk.start()
    try:
        for burst in bursts:
            await asyncio.gather(*(desk.do(*step) for step in burst))
            assert await desk.in_database() == desk.in_memory()
            tree = desk.nodes.tree
            assert all(parent_of(path) in tree for path in tree.paths())
            assert all(entry.group in tree for entry in desk.nodes.registry.all())
    finally:
        await desk.database.stop()


@settings(max_examples=30)
@given(
    st.lists(
        st.lists(st.tuples(STEPS, st.integers(0, 8)), min_size=1, max_size=6),
        min_size=1,
        max_size=5,
    )
)
def test_memory_and_database_end_as_one(bursts: list[list[tuple[Step, int]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(played(bursts, Path(folder) / "center.db"))


async def test_a_birth_while_a_move_is_committed_is_not_its_undoing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The move takes effect in memory before its commit: what comes meanwhile builds on it."""
    desk = Desk(tmp_path / "center.db")
    await desk.start()
    await desk.birth("n1", "a/x")
    written, go_on = asyncio.Event(), asyncio.Event()
    real = desk.database.write

    async def slow(work: Any) -> Any:
        result = await real(work)
        written.set()
        await go_on.wait()
        return result

    with monkeypatch.context() as patch:
        patch.setattr(desk.database, "write", slow)
        move = asyncio.create_task(desk.groups.move_group("a", "b"))
        await written.wait()
    await desk.birth("n1", "a/x")
    await desk.birth("n2", "b/x")
    go_on.set()
    await move
    assert await desk.in_database() == desk.in_memory()
    entry = desk.nodes.registry.get("n1")
    assert entry is not None
    assert (entry.group, sorted(desk.nodes.tree.paths())) == ("b/x", ["b", "b/x"])
    await desk.database.stop()
