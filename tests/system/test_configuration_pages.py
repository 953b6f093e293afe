"""The commands of the pages on configuration are run, and what they print is what stands there."""

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from system.programs import BIN, AgentProgram, CenterProgram, Program
from system.test_configuration import put, settled

pytestmark = pytest.mark.processes

DOCS = Path(__file__).parents[2] / "docs"
NODES = {"pi-16": "eu/hamburg", "pi-17": "eu/hamburg", "pi-18": "eu/bremen", "pi-20": "us"}
SEEN = "pi-17"
FAILS = "would be refused"

MakeCenter = Callable[..., CenterProgram]


def consoles(page: str) -> list[tuple[str, list[str]]]:
    """Each command with the lines below it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
        for line in block.replace("\\\n", "").splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


class Shell:
    """``/etc`` of the pages is a folder of the test's."""

    def __init__(self, center: CenterProgram, folder: Path) -> None:
        self.folder = folder
        self.etc = str(folder / "etc")
        self.env = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "FARSHORE_URL": center.url,
            "FARSHORE_AUTHOR": "ada",
            "NO_COLOR": "1",
            "COLUMNS": "300",
        }

    def placed(self, text: str) -> str:
        return text.replace("/etc/", f"{self.etc}/")

    async def run(self, command: str) -> tuple[int, list[str]]:
        done = await asyncio.to_thread(
            subprocess.run,
            ["/bin/sh", "-c", self.placed(command)],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        said = done.stdout + done.stderr
        said = said.replace(self.etc, "/etc").replace(self.etc.replace("/", "~1"), "~1etc")
        return done.returncode, said.splitlines()


def shape(line: str) -> list[str]:
    """Without what is another one each time: columns' widths, ages, digests of what has paths in it."""
    words = (re.sub(r"^[0-9a-f]{12}$", "DIGEST", word) for word in line.split())
    return [re.sub(r"^\d+[smh]$", "AGO", word) for word in words]


def rate_in(path: Path) -> Any:
    return json.loads(path.read_text())["fps"]


async def started(
    center: CenterProgram, programs: list[Program], folder: Path, *nodes: str
) -> Shell:
    await center.ready()
    (folder / "etc").mkdir()
    for name in nodes:
        agent = AgentProgram(folder, name, center.mqtt_port)
        agent.argv += ["--group", NODES[name]]
        if (
            name == SEEN
        ):  # one folder is one machine's; the others are told, and say that they may not
            agent.argv += ["--config-root", str(folder / "etc")]
        programs.append(agent)
        agent.start()
    await center.online(*nodes)
    return Shell(center, folder)


async def test_the_page_of_configuration(
    make_center: MakeCenter, programs: list[Program], tmp_path: Path
) -> None:
    center = make_center()
    shell = await started(center, programs, tmp_path, *NODES)
    commands = consoles("configuration.md")
    assert len(commands) >= 15
    for command, printed in commands:
        if command.startswith("cat "):
            (shell.folder / command[4:]).write_text(shell.placed("\n".join(printed) + "\n"))
            continue
        code, said = await shell.run(command)
        assert code == (1 if FAILS in " ".join(printed) else 0), f"{command}: {said}"
        if printed:
            assert [shape(line) for line in said] == [shape(line) for line in printed], command
        if command.startswith("farshore config set"):
            await settled(center, SEEN)
    assert (shell.folder / "etc" / "motd").read_text().endswith(", kept by Farshore\n")


async def test_the_page_of_the_nodes_configuration(
    make_center: MakeCenter, programs: list[Program], tmp_path: Path
) -> None:
    """The override of the page, upon the page's own example of a program's document."""
    center = make_center()
    shell = await started(center, programs, tmp_path, SEEN)
    page = (DOCS / "node-configuration.md").read_text()
    example = re.search(r"```json\n(\{\"app\".*?)```", page, re.DOTALL)
    assert example
    patch = json.loads(shell.placed(example[1]))
    patch["app"]["camera"]["on_change"]["pid_file"] = str(shell.folder / "etc" / "camera.pid")
    await put(center, "node/pi-17", patch)
    await settled(center, "pi-17")
    written = Path(patch["app"]["camera"]["path"])
    rates = [rate_in(written)]
    commands = consoles("node-configuration.md")
    assert len(commands) == 3
    for command, _ in commands:
        code, said = await shell.run(command)
        assert code == 0, f"{command}: {said}"
        rates.append(rate_in(written))
    assert rates == [25, 5, 5, 25]
