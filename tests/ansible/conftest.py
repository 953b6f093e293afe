"""A center and agents as processes, and the real ansible-playbook with a home of its own."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from system.programs import BIN, AgentProgram, CenterProgram

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "center" / "src" / "farshore_center" / "ansible"
DEADLINE_S = 30.0
RUN_S = 120.0


@dataclass(slots=True)
class Play:
    """What a run of Ansible came to."""

    code: int
    text: str

    def result(self, host: str) -> dict[str, Any]:
        """The last result that was printed for the host (``-v``)."""
        for line in reversed(self.text.splitlines()):
            if f"[{host}]" in line and "=> {" in line:
                found: dict[str, Any] = json.loads(line.partition("=> ")[2])
                return found
        raise AssertionError(self.text)


@dataclass(slots=True)
class Stage:
    folder: Path
    center: CenterProgram
    http: httpx.Client
    agents: dict[str, AgentProgram] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE", "FARSHORE"))}
        return {
            **kept,
            "HOME": str(self.folder),
            "FARSHORE_URL": self.center.url,
            "ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS / "connection"),
            "ANSIBLE_INVENTORY_PLUGINS": str(PLUGINS / "inventory"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_RETRY_FILES_ENABLED": "false",
        }

    def ansible(self, program: str, *words: str, **more: str) -> Play:
        done = subprocess.run(
            [str(BIN / program), *words],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**self.environment(), **more},
            timeout=RUN_S,
        )
        return Play(done.returncode, done.stdout + done.stderr)

    def play(self, tasks: str, *words: str, hosts: str = "pi-1", **more: str) -> Play:
        """A playbook of these tasks; facts are gathered only where a task asks for them."""
        book = self.folder / "book.yml"
        lines = "".join(f"    {line}\n" for line in tasks.strip("\n").splitlines())
        book.write_text(f"- hosts: {hosts}\n  gather_facts: false\n  tasks:\n{lines}")
        return self.ansible(
            "ansible-playbook", "-v", "-i", self.script(), str(book), *words, **more
        )

    def script(self) -> str:
        """The inventory as an executable script, as docs/coming-from-ansible.md shows it."""
        path = self.folder / "fleet.sh"
        path.write_text(f'#!/bin/sh\nexec {BIN / "farshore"} inventory "$@"\n')
        path.chmod(0o755)
        return str(path)

    def add(self, name: str, *options: str) -> AgentProgram:
        agent = self.agents[name] = AgentProgram(self.folder, name, self.center.mqtt_port)
        # A home of its own: what Ansible and the plugin keep at a node lies there.
        agent.argv = ["/usr/bin/env", f"HOME={self.home(name)}", *agent.argv, *options]
        agent.start()
        self.wait(lambda: self.state(name) == "online", f"{name} online")
        return agent

    def home(self, name: str) -> Path:
        """pi-1 and pi-2 share theirs, as two names for one machine would."""
        path = self.folder / ("home" if name in ("pi-1", "pi-2") else f"home-{name}")
        path.mkdir(exist_ok=True)
        return path

    def state(self, name: str) -> str:
        response = self.http.get(f"/api/v1/nodes/{name}")
        return str(response.json()["state"]) if response.status_code == 200 else "unknown"

    def commands(self) -> list[dict[str, Any]]:
        """With their targets, the oldest first."""
        items = self.http.get("/api/v1/commands", params={"limit": 500}).json()["items"]
        return [self.http.get(f"/api/v1/commands/{i['id']}").json() for i in reversed(items)]

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"{what} never came"
            time.sleep(0.05)  # between two looks at a condition with a deadline


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A center with pi-1 and pi-2 in eu/hamburg."""
    folder = tmp_path_factory.mktemp("ansible")
    center = CenterProgram(folder)
    center.start()
    with httpx.Client(base_url=center.url, timeout=DEADLINE_S) as http:
        made = Stage(folder, center, http)
        try:
            made.wait(lambda: _ready(http), "a ready center")
            made.add("pi-1", "--group", "eu/hamburg", "--label", "env=prod")
            made.add("pi-2", "--group", "eu/hamburg", "--label", "env=test")
            yield made
        finally:
            for program in (*made.agents.values(), center):
                if program.process is not None:
                    program.kill()
            asyncio.run(center.http.aclose())


def _ready(http: httpx.Client) -> bool:
    try:
        return http.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
