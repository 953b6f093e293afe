"""A center and two agents as processes, on either kind of broker, and somebody at a shell beside them."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from field.guide import missing
from system.programs import AgentProgram, CenterProgram, MosquittoProgram, Program, until

DEADLINE_S = 120.0
NODES = ("pi-17", "pi-18")


class Site:
    """``port``: of the broker; ``heard``: what the listener has shown so far."""

    def __init__(self, folder: Path, broker: str) -> None:
        self.folder = folder
        self.broker = MosquittoProgram(folder) if broker == "mosquitto" else None
        mqtt = None if self.broker is None else f"mqtt://127.0.0.1:{self.broker.port}"
        self.center = CenterProgram(folder, mqtt=mqtt)
        self.port = self.center.mqtt_port if self.broker is None else self.broker.port
        self.agents = {name: self._agent(name) for name in NODES}
        self._listener: subprocess.Popen[bytes] | None = None
        home = folder / "home"
        home.mkdir()
        self.environment = {"HOME": str(home), "PATH": os.environ["PATH"]}

    def _agent(self, name: str) -> AgentProgram:
        agent = AgentProgram(self.folder, name, self.port)
        agent.argv += ["--group", "eu/hamburg", "--read-root", "/etc"]
        return agent

    async def start(self) -> None:
        if self.broker is not None:
            self.broker.start()
        self.center.start()
        await self.center.ready(DEADLINE_S)
        for agent in self.agents.values():
            agent.start()
        await self.center.online(*NODES, within_s=DEADLINE_S)

    async def end(self) -> None:
        if self._listener is not None:
            os.kill(self._listener.pid, signal.SIGTERM)
            self._listener.wait(DEADLINE_S)
        programs: list[Program | None] = [*self.agents.values(), self.center, self.broker]
        for program in programs:
            if program is not None and program.process is not None:
                program.kill()
        await self.center.http.aclose()
        await asyncio.sleep(0)

    # Somebody at a shell

    def script(self, text: str) -> str:
        """A script of the guide, for the broker that is here."""
        return text.replace("-p 1883", f"-p {self.port}")

    async def run(self, text: str) -> list[str]:
        """What it prints."""
        process = await asyncio.create_subprocess_exec(
            *("bash", "-e", "-c", self.script(text)),
            env=self.environment,
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(DEADLINE_S):
            out, _ = await process.communicate()
        assert process.returncode == 0, (text, out)
        return out.decode().splitlines()

    async def settle_in(self) -> None:
        """The clients know the broker."""
        for name in ("mosquitto_pub", "mosquitto_sub", "mosquitto_rr"):
            config = Path(self.environment["HOME"]) / ".config" / name
            config.parent.mkdir(exist_ok=True)
            config.write_text(f"-h 127.0.0.1\n-p {self.port}\n")

    async def listen(self, text: str) -> None:
        """Starts the listener, and waits until it hears a first answer; one is enough."""
        if self._listener is not None:
            return
        argv = ["bash", "-c", f"exec {self.script(text)}"]
        self._start_listener(argv)
        tries = 0

        async def hears() -> bool:
            nonlocal tries
            tries += 1
            word = json.dumps({"id": f"first-{tries}"})
            for node in NODES:
                await self.run(f"mosquitto_pub -t fs1/down/{node}/cmd/ping -m '{word}'")
            return all(
                any(f"/{node}/res/first-" in line for line in self.heard()) for node in NODES
            )

        await until(hears, "the listener", DEADLINE_S)

    def _start_listener(self, argv: list[str]) -> None:
        with (self.folder / "heard").open("wb") as out:
            self._listener = subprocess.Popen(argv, env=self.environment, stdout=out, stderr=out)

    def heard(self) -> list[str]:
        return (self.folder / "heard").read_text(errors="replace").splitlines()

    async def until_heard(self, shown: tuple[str, ...], since: int) -> None:
        try:
            await until(lambda: not missing(shown, self.heard()[since:]), "it", DEADLINE_S)
        except AssertionError:
            came = "\n".join(line[:500] for line in self.heard()[since:])
            pytest.fail(f"not heard: {missing(shown, self.heard()[since:])}\nbut\n{came}")

    def reports(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Command id → node → the last report that was heard."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for line in self.heard():
            topic, _, payload = line.partition(" ")
            _, _, node, kind, name = topic.split("/", 4)
            if kind == "res":
                found.setdefault(name, {})[node] = json.loads(payload)
        return found


@pytest_asyncio.fixture(params=["embedded", "mosquitto"], scope="module", loop_scope="module")
async def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """One for all tests of a file: its processes take their time to start."""
    made = Site(tmp_path_factory.mktemp(request.param), request.param)
    try:
        await made.start()
        yield made
    finally:
        await made.end()
