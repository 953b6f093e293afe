"""``farshore task`` steers a task of a real center."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.task_center import task
from farshore_center.cli.nodes import node_sheet
from farshore_center.cli.task_view import task_sheet
from farshore_center.cli.task_watch import verdict
from system.programs import CenterProgram

pytestmark = pytest.mark.processes

PROGRAM = str(Path(sys.executable).with_name("farshore"))
DEADLINE_S = 60
LAMP = "name: lamp\nkind: service\ndriver: process\nrun: {argv: [/opt/lamp]}\n"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A center without nodes, with the task ``lamp``."""
    folder = tmp_path_factory.mktemp("steer")
    center = CenterProgram(folder)
    center.start()
    try:
        asyncio.run(center.ready())
        (folder / "lamp.yaml").write_text(LAMP)
        made = farshore(center.url, "task", "put", str(folder / "lamp.yaml"))
        assert made.returncode == 0, made.stderr
        yield center.url
    finally:
        center.end()


def farshore(url: str, *args: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "FARSHORE_URL": url}
    return subprocess.run(
        [PROGRAM, *args], env=env, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


@pytest.mark.parametrize(
    ("way", "states"),
    [
        ("stop", ("stopping", "stopped")),
        ("start", ("pending", "stopped")),
        ("restart", ("pending",)),
    ],
)
def test_the_center_says_what_the_task_is_now(url: str, way: str, states: tuple[str, ...]) -> None:
    said = farshore(url, "task", way, "lamp")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.strip() in [f"lamp: {state}" for state in states]
    document = json.loads(farshore(url, "--json", "task", way, "lamp").stdout)
    assert [each["instance"] for each in document["instances"]] == [0]


@pytest.mark.parametrize("spec", [{"kind": "service"}, {"kind": "batch"}])
@pytest.mark.parametrize("state", ["running", "done", "failed"])
def test_what_is_as_it_was_before_the_change_ends_no_waiting(
    state: str, spec: dict[str, str]
) -> None:
    assert verdict(task(state=state, spec=spec, behind=1), until="runs") is None


@pytest.mark.parametrize(("behind", "shown"), [(0, None), (2, "2 instances still as before")])
def test_what_is_as_it_was_is_shown(behind: int, shown: str | None) -> None:
    rows = {str(row[0]): str(row[1]) for row in task_sheet(task(behind=behind), 0).rows}
    assert ("behind" in rows) == (shown is not None)
    assert shown is None or rows["behind"].startswith(shown)


def test_a_node_shows_by_which_names_tasks_ask_for_what_it_has() -> None:
    facts = {
        "gpus": [{"vendor": "nvidia", "name": "Tesla T4"}, {"vendor": "amd"}, 5],
        "devices": [{"name": "camera0", "path": "/dev/video0"}],
    }
    pi = {"name": "pi-1", "state": "online"}
    rows = {row[0]: row[1] for row in node_sheet({**pi, "facts": facts}, 0).rows}
    assert (rows["fact gpus"], rows["fact devices"]) == ("Tesla T4, amd", "camera0")
    odd = node_sheet({**pi, "facts": {"gpus": 7}}, 0)
    assert "fact devices" not in {row[0] for row in odd.rows}


@pytest.mark.parametrize("wanted", ["stop", "delete"])
def test_nobody_waits_for_what_a_person_has_stopped(wanted: str) -> None:
    assert verdict(task(state="stopped", wanted=wanted), until="runs") == 1
    assert verdict(task(state="stopped", wanted=wanted), until="stopped") == 0
