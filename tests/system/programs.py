"""Real processes of center, agent and Mosquitto; each is ended by its own pid."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from center.running import NO_TLS
from ports import free_port

DEADLINE_S = 60.0
START_S = 90.0
"""Of a program: half a second of computing, on a machine that may have much else to do."""
BIN = Path(sys.executable).parent


async def until(condition: Callable[[], Any], what: str, within_s: float = DEADLINE_S) -> Any:
    deadline = time.monotonic() + within_s
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} never came"
        await asyncio.sleep(0.05)


class Program:
    """One process at a time, with everything that it wrote in ``log``."""

    def __init__(self, argv: list[str], log: Path) -> None:
        self.argv = argv
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit code."""
        process, self.process = self.process, None
        assert process is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
        try:
            return process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def wait(self) -> int:
        """For a process that ends by itself."""
        assert self.process is not None
        code = self.process.wait(DEADLINE_S)
        self.process = None
        return code

    def text(self) -> str:
        return self.log.read_text(errors="replace")


class CenterProgram(Program):
    def __init__(self, folder: Path, *, mqtt: str | None = None, name: str = "center") -> None:
        self.http_port, self.mqtt_port = free_port(), free_port()
        self.data = folder / name
        self.url = f"http://127.0.0.1:{self.http_port}"
        argv = [
            str(BIN / "farshore-center"),
            "run",
            "--dev",
            "--data",
            str(self.data),
            "--http",
            f"127.0.0.1:{self.http_port}",
            "--mqtt",
            mqtt or f"127.0.0.1:{self.mqtt_port}",
        ]
        super().__init__(argv, folder / f"{name}.log")
        # A center that is killed leaves no connection behind that a later request would try.
        limits = httpx.Limits(max_keepalive_connections=0)
        self.http = httpx.AsyncClient(
            base_url=self.url, timeout=DEADLINE_S, limits=limits, verify=NO_TLS
        )

    async def ready(self, within_s: float = DEADLINE_S) -> None:
        async def look() -> bool:
            assert self.process is None or self.process.poll() is None, self.text()
            try:
                return (await self.http.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await until(look, "a ready center", START_S)

    async def get(self, path: str, **params: Any) -> Any:
        response = await self.http.get(f"/api/v1{path}", params=params)
        return response.json() if response.status_code == 200 else None

    async def online(self, *names: str, within_s: float = DEADLINE_S) -> None:
        async def look() -> bool:
            found = await self.get("/nodes", state="online")
            return set(names) <= {item["name"] for item in found["items"]}

        await until(look, f"{names} online", START_S)

    async def offline(self, *names: str, within_s: float = DEADLINE_S) -> None:
        async def look() -> bool:
            found = await self.get("/nodes", state="offline")
            return set(names) <= {item["name"] for item in found["items"]}

        await until(look, f"{names} offline", within_s)

    async def command(self, node: str, verb: str, args: Any = None, **more: Any) -> dict[str, Any]:
        response = await self.http.post(
            "/api/v1/commands", json={"node": node, "verb": verb, "args": args or {}, **more}
        )
        assert response.status_code == 201, response.text
        made: dict[str, Any] = response.json()
        return made

    async def done(self, command_id: str) -> dict[str, Any]:
        async def look() -> Any:
            view = await self.get(f"/commands/{command_id}")
            return view if view and view["done"] else None

        view: dict[str, Any] = await until(look, f"the end of command {command_id}")
        return view


class AgentProgram(Program):
    def __init__(self, folder: Path, name: str, mqtt_port: int) -> None:
        self.name = name
        self.data = folder / name
        argv = [
            *(str(BIN / "farshore-agent"), "run", "--dev", "--node", name),
            *("--center", f"mqtt://127.0.0.1:{mqtt_port}", "--data", str(self.data)),
            *("--sample-interval-s", "0.2", "--batch-s", "0.4", "--heartbeat-s", "1"),
            *("--backoff-first-s", "0.2", "--backoff-max-s", "1", "--stop-grace-s", "15"),
        ]
        super().__init__(argv, folder / f"{name}.log")


class MosquittoProgram(Program):
    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        config = folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n"
        )
        program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program, "mosquitto is missing: make system"
        super().__init__([program, "-c", str(config)], folder / "mosquitto.log")

    def start(self) -> None:
        """Until it listens: Mosquitto's own clients give up at a refused connection."""
        super().start()
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            except OSError:
                assert time.monotonic() < deadline, "Mosquitto never listened"
                time.sleep(0.02)  # between two looks at a condition with a deadline
            else:
                return
