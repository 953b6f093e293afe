"""``farshore`` against a real center with simulated nodes: real processes, real MQTT, real SIGINT."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from system.programs import CenterProgram, Program

pytestmark = pytest.mark.processes

BIN = Path(sys.executable).parent
NODES = 8
DEADLINE_S = 60.0


class Operator:
    """A person at a shell with ``FARSHORE_URL`` set."""

    def __init__(self, url: str) -> None:
        self.url = url
        kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
        self.env = {**kept, "FARSHORE_URL": url, "FARSHORE_AUTHOR": "ada"}

    def __call__(self, *args: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(BIN / "farshore"), *args], env=self.env, capture_output=True, text=True,
            timeout=DEADLINE_S, check=False,
        )  # fmt: skip

    def begin(self, *args: str) -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [str(BIN / "farshore"), *args], env=self.env, stdout=pipe, stderr=pipe, text=True
        )

    def get(self, path: str) -> Any:
        response = httpx.get(f"{self.url}/api/v1{path}", timeout=DEADLINE_S)
        return response.raise_for_status().json()


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A center with eight simulated nodes."""
    folder = tmp_path_factory.mktemp("real")
    center = CenterProgram(folder)
    sim = Program(
        [str(BIN / "farshore-sim"), "run", "--nodes", str(NODES), "--center",
         f"mqtt://127.0.0.1:{center.mqtt_port}"], folder / "sim.log",
    )  # fmt: skip
    center.start()
    try:
        operator = Operator(center.url)
        until(lambda: _ready(center.url), "a ready center")
        sim.start()
        until(lambda: len(operator.get("/nodes?state=online")["items"]) == NODES, "the nodes")
        yield operator
    finally:
        for program in (sim, center):
            if program.process is not None:
                program.end()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def newest(operator: Operator, what: str) -> Any:
    items = operator.get(f"/{what}?limit=1")["items"]
    return operator.get(f"/{what}/{items[0]['id']}") if items else None


def test_a_selector_is_run_and_equal_answers_are_told_once(operator: Operator) -> None:
    done = operator("run", "group:eu/** and label.env=prod", "exec", "-b", "--", "echo", "hi")
    assert done.returncode == 0, done.stderr
    heading, answer, conclusion = done.stdout.splitlines()
    assert heading == "--- 5 nodes succeeded: sim-[1-3,7-8]"
    assert answer == "hi"
    assert ": 5 targets, 5 succeeded" in conclusion


def test_an_unknown_verb_names_the_near_one(operator: Operator) -> None:
    done = operator("run", "sim-1", "pign")
    assert done.returncode == 2
    assert "did you mean ping?" in done.stderr


def test_nobody_is_refused_unless_it_is_meant(operator: Operator) -> None:
    assert operator("run", "label.env=none", "ping").returncode == 2
    assert operator("run", "label.env=none", "ping", "--allow-empty").returncode == 0


def test_what_takes_too_long_says_so(operator: Operator) -> None:
    done = operator("run", "sim-1", "exec", "--timeout", "0.5", "--", "sleep", "30")
    assert done.returncode == 1
    assert "timed_out" in done.stdout
    assert "still running after 0.5 s" in done.stdout


def test_ctrl_c_leaves_the_command_running(operator: Operator) -> None:
    with operator.begin("run", "--all", "exec", "--", "sleep", "4") as process:
        until(lambda: (newest(operator, "commands") or {}).get("args", {}).get("argv")
              == ["sleep", "4"], "the command")  # fmt: skip
        made = newest(operator, "commands")
        until(lambda: "running" in operator.get(f"/commands/{made['id']}")["summary"], "its run")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert f"farshore --url {operator.url} command {made['id']} --follow" in err
    assert not operator.get(f"/commands/{made['id']}")["done"]
    again = operator("command", made["id"], "--follow", "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["summary"] == {"succeeded": NODES}


def test_a_bad_payload_stops_at_the_canary_and_is_rolled_back(operator: Operator) -> None:
    done = operator(
        "job", "run", "--all", "exec", "--waves", "1,50%", "--undo-argv", "echo back", "--", "false"
    )
    assert done.returncode == 1
    job = newest(operator, "jobs")
    assert (job["state"], job["touched"]) == ("halted", 1)
    assert "halted: " in done.stdout
    assert re.search(r"^wave 1 +1/1 +✗+  stopped in it, 1 failed$", done.stdout, re.MULTILINE)
    assert "exit code 1" in done.stdout
    assert f"job rollback {job['id']}" in done.stdout
    back = operator("job", "rollback", job["id"], "--follow")
    assert back.returncode == 0, back.stdout
    assert "rolled_back" in back.stdout
    nodes = operator("job", "nodes", job["id"], "--state", "undone").stdout.splitlines()
    assert nodes[-1] == "1 node: 1 undone"


def test_a_job_waits_for_a_person_while_nobody_looks_on(operator: Operator) -> None:
    args = ["job", "run", "--all", "exec", "--name", "greeting", "--waves", "25%", "--approval",
            "--gate", "state=online", "--", "echo", "hello"]  # fmt: skip
    with operator.begin(*args) as process:
        job = until(lambda: _waits(operator, "greeting"), "the question")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert f"job watch {job['id']}" in err
    assert newest(operator, "jobs")["state"] == "awaiting_approval"
    shown = operator("job", "show", job["id"]).stdout
    assert "waits for  a person: approve wave 2" in shown
    assert f"job approve {job['id']}" in shown
    assert operator("job", "approve", job["id"], "--wave", "3").returncode == 1
    told = operator("job", "approve", job["id"], "--wave", "2", "--message", "looks well")
    assert told.returncode == 0, told.stderr
    until(lambda: newest(operator, "jobs")["wave"] == 2 and _waits(operator, "greeting"), "wave 3")
    history = operator("job", "history", job["id"]).stdout
    assert "approved           ada" in history
    ended = operator("job", "abort", job["id"])
    assert ended.returncode == 0
    assert "stays: 4 nodes as touched: 4 succeeded" in ended.stdout
    assert [line.split()[1:2] for line in operator("job", "list").stdout.splitlines()[1:2]] == [
        ["aborted"]
    ]


def _waits(operator: Operator, name: str) -> Any:
    job = newest(operator, "jobs")
    return job if job and (job["name"], job["state"]) == (name, "awaiting_approval") else None


def test_a_job_that_goes_well_is_exit_code_0(operator: Operator) -> None:
    preview = operator("job", "preview", "--all", "ping", "--waves", "1,25%")
    assert preview.returncode == 0
    assert preview.stdout.splitlines()[-1].startswith("8 nodes; the first could be told at ")
    done = operator("job", "run", "--all", "ping", "--waves", "1,25%", "--factor", "3", "--json")
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert [each["nodes"] for each in job["waves"]] == [1, 2, 5]
    assert job["counts"] == {"succeeded": NODES}


def test_rules_that_can_not_be_met_are_named(operator: Operator) -> None:
    done = operator("job", "create", "--all", "ping", "--soak", "1h", "--deadline", "5m")
    assert done.returncode == 2
    assert "rules.deadline_s" in done.stderr
    assert operator("job", "preview", "--all", "ping", "--window", "0 25 * * * for 1h").returncode
