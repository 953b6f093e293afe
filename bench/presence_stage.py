"""The center, simulators and agents of the presence measure, and what is done to them."""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import httpx
import orjson
from farshore_sim.faults import TcpProxy

from bench.center import Center
from bench.errors import BenchError
from bench.processes import Running, farshore, running

HEARTBEAT_S = 2.0
KEEPALIVE_S = 3
"""The broker gives a silent client up after 1.5 times the keep-alive: within three heartbeats."""
SEEN_WITHIN_S = 60.0


class Watch:
    """When each node was said to be offline, since it was last forgotten."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._offline_s: dict[str, float] = {}
        self.subscribed = asyncio.Event()

    async def run(self) -> None:
        """Until the center ends."""
        headers = {"Accept": "text/event-stream"}
        async with (
            httpx.AsyncClient(base_url=self._url, timeout=None) as http,  # noqa: S113 # events may be rare
            http.stream("GET", "/api/v1/events?kind=node.offline", headers=headers) as lines,
        ):
            async for line in lines.aiter_lines():
                self.subscribed.set()
                if line.startswith("data:"):
                    event = orjson.loads(line[5:])
                    self._offline_s.setdefault(event["node"], time.monotonic())

    async def gone(self, nodes: dict[str, float], within_s: float) -> list[float]:
        """How long it took for each of these nodes, given since when it has been gone."""
        deadline_s = time.monotonic() + within_s
        while missing := nodes.keys() - self._offline_s.keys():
            if time.monotonic() > deadline_s:
                raise BenchError(
                    f"not seen as offline within {within_s:g} s: {sorted(missing)[:5]}"
                )
            await asyncio.sleep(0.01)
        return [self._offline_s.pop(node) - since for node, since in nodes.items()]


class Stage:
    """The center, the simulators and the agents; what is done to them."""

    def __init__(self, folder: Path, found: Center, watch: Watch, *, nodes: int) -> None:
        """``nodes``: how many are online while nothing is done to them."""
        self.found = found
        self._nodes = nodes
        self.watch = watch
        self.cable = TcpProxy("127.0.0.1", found.mqtt_port)
        self._folder = folder
        self._rng = random.Random(1)  # noqa: S311 # when something is done to whom
        self.agents: dict[str, Running] = {}

    @contextlib.asynccontextmanager
    async def simulated(self, prefix: str, nodes: int) -> AsyncIterator[Running]:
        argv = farshore(
            "farshore-sim",
            *("run", "--nodes", str(nodes), "--center", self.found.mqtt_url, "--prefix", prefix),
        )
        async with running(prefix, *argv, log=self._folder / f"{prefix}.log") as simulator:
            yield simulator

    async def agent(self, stack: contextlib.AsyncExitStack, name: str, port: int) -> None:
        argv = farshore(
            "farshore-agent",
            *("run", "--dev", "--node", name, "--center", f"mqtt://127.0.0.1:{port}"),
            *("--data", str(self._folder / name), "--heartbeat-s", f"{HEARTBEAT_S:g}"),
            *("--keepalive-s", str(KEEPALIVE_S)),
            # They are cut off again and again, which by default makes them wait for minutes.
            *("--backoff-max-s", "4"),
        )
        log = self._folder / f"{name}.log"
        self.agents[name] = await stack.enter_async_context(running(name, *argv, log=log))

    async def killed(self, simulator: Running, names: Sequence[str]) -> list[float]:
        """All nodes of a simulator at once."""
        now_s = time.monotonic()
        os.kill(simulator.pid, signal.SIGKILL)
        return await self.watch.gone(dict.fromkeys(names, now_s), SEEN_WITHIN_S)

    async def one_by_one(
        self, names: Sequence[str], do: Callable[[str], None], undo: Callable[[str], None]
    ) -> list[float]:
        """Does it to one node after another, each at a moment of its own; then undoes it."""
        since: dict[str, float] = {}
        for name in names:
            await asyncio.sleep(self._rng.uniform(0, HEARTBEAT_S / 4))
            do(name)
            since[name] = time.monotonic()
        took = await self.watch.gone(since, SEEN_WITHIN_S)
        for name in names:
            undo(name)
        return took

    def signal(self, name: str, number: signal.Signals) -> None:
        os.kill(self.agents[name].pid, number)

    async def online(self) -> None:
        await self.found.online(self._nodes, within_s=120)
