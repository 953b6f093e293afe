"""The center, the simulated nodes in their processes, and the services that are spread over them."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from bench.center import Center
from bench.errors import BenchError
from bench.failover.herd import Members
from bench.failover.journal import Journal, Key
from bench.processes import ROOT

HEARTBEAT_S = 1.0
STEADY, MORTAL = "sim", "gone"
"""How the nodes are called that stay, and those that are killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What is written in ``disconnect``, and how much work has it: ``tasks`` services of ``count``
    instances each. ``mortal``: on the nodes that are killed alone."""

    name: str
    disconnect: dict[str, Any]
    tasks: int
    count: int
    stop_grace_s: float = 1.0
    mortal: bool = False

    @property
    def instances(self) -> int:
        return self.tasks * self.count

    def names(self) -> list[str]:
        return [f"{self.name}-{number}" for number in range(1, self.tasks + 1)]

    def spec(self) -> dict[str, Any]:
        return {
            "kind": "service",
            "driver": "simulated",
            "count": self.count,
            "constraint": f"node:{MORTAL}-*" if self.mortal else "all",
            "spread": [{"over": "node"}],
            "policy": "spread",
            "requests": {"cpu_cores": 0.05, "memory_bytes": 1 << 20},
            "stop_grace_s": self.stop_grace_s,
            "disconnect": self.disconnect,
        }


@dataclass(slots=True, kw_only=True)
class Group:
    """The nodes of one process. ``pid`` changes when it is begun anew."""

    members: Members
    names: tuple[str, ...]
    pid: int = 0


class Stage:
    def __init__(self, folder: Path, found: Center) -> None:
        self.folder = folder
        self.found = found
        self.journal = Journal(folder / "journal")
        self.groups: list[Group] = []
        self._next = 1
        self._orders = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._herd: asyncio.subprocess.Process | None = None

    @contextlib.asynccontextmanager
    async def herd(self) -> AsyncIterator[None]:
        """All nodes end with the block."""
        with (self.folder / "herd.log").open("wb") as log:
            self._herd = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bench.failover.herd"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,
            )
        try:
            yield
        finally:
            self._herd.kill()
            await asyncio.shield(self._herd.wait())
            self.journal.close()
            self._orders.close()

    async def add(self, prefix: str, sizes: Sequence[int]) -> list[Group]:
        """A process for each of these numbers of nodes."""
        made = []
        for nodes in sizes:
            members = Members(
                center=self.found.mqtt_url,
                prefix=prefix,
                first=self._next,
                nodes=nodes,
                heartbeat_s=HEARTBEAT_S,
                journal=str(self.folder / "journal"),
                orders=str(self.folder / f"{self._next}.sock"),
            )
            self._next += nodes
            group = Group(members=members, names=names_of(members))
            await self.begin(group)
            made.append(group)
        self.groups += made
        return made

    async def begin(self, group: Group) -> None:
        herd = self._herd
        if herd is None or herd.stdin is None or herd.stdout is None:
            raise BenchError("there is no herd yet")
        herd.stdin.write(msgspec.json.encode(group.members) + b"\n")
        await herd.stdin.drain()
        answer = await herd.stdout.readline()
        if not answer:
            raise BenchError(f"the herd has ended:\n{self._said()}")
        group.pid = int(answer)

    async def online(self, nodes: int, *, within_s: float) -> None:
        """Waits until so many nodes are online."""
        try:
            await self.found.online(nodes, within_s=within_s)
        except BenchError as exc:
            here = (await self.found.metrics())["farshore_nodes_online"]
            raise BenchError(f"{exc}; {here:g} are:\n{self._said()}") from exc

    def _said(self) -> str:
        return (self.folder / "herd.log").read_text("utf-8", "replace")[-1000:]

    def signal(self, group: Group, number: int) -> None:
        os.kill(group.pid, number)

    def kill_run(self, group: Group, run_id: str) -> None:
        self._orders.sendto(run_id.encode(), group.members.orders)

    # Work

    async def put(self, contract: Contract) -> None:
        """All its tasks at once."""

        async def one(http: httpx.AsyncClient, name: str) -> None:
            answer = await http.put(f"/api/v1/tasks/{name}", json=contract.spec())
            if answer.status_code not in (200, 201):
                raise BenchError(f"PUT {name}: {answer.status_code} {answer.text[:300]}")

        async with httpx.AsyncClient(base_url=self.found.http_url, timeout=60) as http:
            await asyncio.gather(*(one(http, name) for name in contract.names()))

    async def at_work(self, keys: set[Key], within_s: float) -> None:
        """Until each of these has begun somewhere."""

        async def look() -> bool | None:
            self.journal.follow()
            return keys <= self.journal.newest.keys() or None

        try:
            await self.found.until(look, "all instances to begin", within_s=within_s, every_s=0.02)
        except BenchError as exc:
            missing = sorted(keys - self.journal.newest.keys())
            raise BenchError(
                f"{exc}: {len(missing)} of {len(keys)} missing: {missing[:5]}"
            ) from exc


def names_of(members: Members) -> tuple[str, ...]:
    last = members.first + members.nodes - 1
    width = len(str(last))
    return tuple(f"{members.prefix}-{n:0{width}}" for n in range(members.first, last + 1))


def keys_of(contract: Contract) -> set[Key]:
    return {(task, number) for task in contract.names() for number in range(contract.count)}
