"""A center and its agents as processes, on a broker that can be killed with all that it kept."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import httpx
from link.brokers import Mosquitto, Nats, Program
from ports import free_port

DEADLINE_S = 25.0
SAMPLE_S = 0.1
LOOK_EVERY_S = 0.03

T = TypeVar("T")


class Process:
    """One of Farshore's programs, its log in a file."""

    def __init__(self, folder: Path, program: str, *args: str) -> None:
        self.log = folder / f"{program}.log"
        self._command = [str(Path(sys.executable).with_name(program)), *args]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE_S)
            self._process = None

    async def stop(self) -> int:
        """An orderly end; its exit code."""
        assert self._process is not None
        self._process.terminate()
        code = await asyncio.to_thread(self._process.wait, DEADLINE_S)
        self._process = None
        return code


class Fleet:
    """A center and two agents. ``broker`` None: the center's embedded one."""

    agents = ("a-1", "a-2")

    def __init__(
        self, folder: Path, broker: Program | None, center_port: int | None = None
    ) -> None:
        """``center_port``: where the center finds the broker, if not at the broker's own port."""
        self.folder = folder
        self.broker = broker
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{free_port()}", timeout=5)
        port = broker.port if broker is not None else free_port()
        nodes_port = broker.nodes_port if isinstance(broker, Mosquitto) else port
        folder.mkdir()
        self.center = Process(
            folder,
            "farshore-center",
            *("run", "--dev", "--data", str(folder / "center")),
            *("--http", self.http.base_url.netloc.decode()),
            *(
                "--mqtt",
                f"{'mqtt://' if broker is not None else ''}127.0.0.1:{center_port or port}",
            ),
        )
        self.nodes = {name: self._agent(name, nodes_port) for name in self.agents}

    def _agent(self, name: str, port: int) -> Process:
        (self.folder / name).mkdir()
        return Process(
            self.folder / name,
            "farshore-agent",
            *("run", "--dev", "--node", name, "--center", f"mqtt://127.0.0.1:{port}"),
            *("--data", str(self.folder / name), "--heartbeat-s", "1", "--stop-grace-s", "20"),
            *("--sample-interval-s", str(SAMPLE_S), "--batch-s", str(2 * SAMPLE_S)),
            *("--backoff-first-s", "0.1", "--backoff-max-s", "0.5"),
        )

    async def start(self) -> None:
        if self.broker is not None:
            await self.broker.start()
        for process in (self.center, *self.nodes.values()):
            process.start()

    async def kill_the_broker(self) -> None:
        """At once, and nothing that it kept is left. The embedded one dies with the center."""
        if self.broker is None:
            self.center.kill()
        else:
            await self.broker.kill()
            self.broker.wipe()

    async def start_the_broker(self) -> None:
        if self.broker is None:
            self.center.start()
        else:
            await self.broker.start()

    async def end(self) -> None:
        await self.http.aclose()
        for process in (*self.nodes.values(), self.center):
            process.kill()
        if self.broker is not None:
            await self.broker.stop()

    # What the center says

    async def until(self, look: Callable[[], Awaitable[T | None]], what: str) -> T:
        """The first answer that is not None; the center may be away meanwhile."""
        answer: T | None = None
        try:
            async with asyncio.timeout(DEADLINE_S):
                while answer is None:
                    try:
                        answer = await look()
                    except httpx.TransportError:
                        answer = None
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            raise AssertionError(f"waited in vain for {what}\n{self.logs()}") from None
        return answer

    def logs(self) -> str:
        logs = [self.center.log, *(node.log for node in self.nodes.values())]
        return "\n".join(f"--- {log}\n{log.read_text()[-2000:]}" for log in logs if log.exists())

    async def get(self, path: str, **params: Any) -> Any:
        return (await self.http.get(f"/api/v1{path}", params=params)).json()

    async def ready(self, *, after: Mapping[str, int] | None = None) -> dict[str, int]:
        """Until all are online, by later connections than those in ``after``; the connections."""

        async def look() -> dict[str, int] | None:
            if (await self.http.get("/readyz")).status_code != 200:
                return None
            nodes = (await self.get("/nodes"))["items"]
            conns = {node["name"]: node["conn"] for node in nodes if node["state"] == "online"}
            new = all(conn > (after or {}).get(name, 0) for name, conn in conns.items())
            return conns if new and set(conns) == set(self.agents) else None

        return await self.until(look, "the center to be ready and both nodes to be online")

    async def ping(self) -> None:
        """Of all nodes, and all answer."""
        body = {"all": True, "verb": "ping", "ttl_s": 15}
        made = (await self.http.post("/api/v1/commands", json=body)).json()

        async def look() -> list[str] | None:
            command = await self.get(f"/commands/{made['id']}")
            return [t["state"] for t in command["targets"]] if command["done"] else None

        states = await self.until(look, "the answers to ping")
        assert states == ["succeeded", "succeeded"]

    async def books(self, node: str) -> dict[str, dict[str, Any]]:
        items = (await self.get(f"/nodes/{node}/streams"))["items"]
        return {book["stream"]: book for book in items if book["current"]}

    async def until_metrics(self, more: int) -> None:
        """Until every node has that many more records of metrics accepted."""
        before = {name: (await self.books(name))["metrics"]["accepted"] for name in self.agents}

        async def look() -> bool | None:
            now = {name: (await self.books(name))["metrics"]["accepted"] for name in self.agents}
            return True if all(now[n] >= before[n] + more for n in before) else None

        await self.until(look, f"{more} more records of each node")

    def outbox(self, node: str) -> int:
        """How many records lie in a node's outbox."""
        (file,) = (self.folder / node).glob("*.db")
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM record").fetchone()
        return int(count)


def make_fleet(kind: str, folder: Path) -> Fleet:
    broker: Program | None = None
    if kind == "mosquitto":
        broker = Mosquitto(folder / "broker")
    elif kind == "nats":
        broker = Nats(folder / "broker")
    return Fleet(folder / "fleet", broker)
