"""``farshore`` on a real terminal and on a pipe: colours for people, plain text for programs."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli import task_center
from cli.job_documents import rollout

if TYPE_CHECKING:
    from cli.conftest import ContractCenter

pytestmark = pytest.mark.processes

PROGRAM = str(Path(sys.executable).with_name("farshore"))
DEADLINE_S = 60
COLOUR = re.compile(rb"\x1b\[[0-9;]*3[0-7]m")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Terminal:
    """A program on a pseudo-terminal; ``until`` reads what it shows."""

    def __init__(self, *args: str, env: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen([PROGRAM, *args], env=env, stdout=slave, stderr=slave)
        os.close(slave)
        self.shown = b""

    def until(self, pattern: bytes) -> bytes:
        deadline = time.monotonic() + DEADLINE_S
        while not re.search(pattern, self.shown):
            left = deadline - time.monotonic()
            assert left > 0, self.shown
            assert self._read(left), self.shown
        return self.shown

    def end(self) -> int:
        while self._read(DEADLINE_S):
            pass
        os.close(self._master)
        return self.process.wait(DEADLINE_S)

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self._master], [], [], timeout_s)[0]:
            return False
        try:
            piece = os.read(self._master, 65536)
        except OSError:  # the other end is closed
            return False
        self.shown += piece
        return bool(piece)


@pytest.fixture
def fleet(center: "ContractCenter") -> "ContractCenter":
    for n in range(3):
        center.add_node(f"a-node-with-a-rather-long-name-{n}", group="eu/" + "x" * 40, online=n > 0)
    center.groups = [{"path": "eu", "nodes": 3, "online": 2}]
    return center


def test_states_have_colours_on_a_terminal(
    fleet: "ContractCenter", environment: dict[str, str]
) -> None:
    terminal = Terminal("nodes", env={**environment, "COLUMNS": "160"})
    terminal.until(rb"3 nodes")
    assert terminal.end() == 0
    assert re.search(rb"\x1b\[32monline", terminal.shown)
    assert re.search(rb"\x1b\[31moffline", terminal.shown)


@pytest.mark.parametrize(("flag", "variable"), [("--no-color", ""), ("--json", ""), ("", "1")])
def test_colours_can_be_refused(
    fleet: "ContractCenter", environment: dict[str, str], flag: str, variable: str
) -> None:
    env = {**environment, **({"NO_COLOR": variable} if variable else {})}
    terminal = Terminal("nodes", *([flag] if flag else []), env=env)
    terminal.until(rb"offline")
    assert terminal.end() == 0
    assert not COLOUR.search(terminal.shown)


def test_groups_are_a_tree_on_a_terminal(
    fleet: "ContractCenter", environment: dict[str, str]
) -> None:
    terminal = Terminal("groups", env=environment)
    terminal.until(rb"2 of 3 online")
    assert terminal.end() == 0


def test_a_run_is_a_live_table_and_ctrl_c_leaves_it_readable(
    fleet: "ContractCenter", environment: dict[str, str]
) -> None:
    terminal = Terminal("run", "--all", "ping", env={**environment, "COLUMNS": "160"})
    terminal.until(rb"Ctrl-C detaches")
    terminal.process.send_signal(signal.SIGINT)
    shown = terminal.until(rb"command c1")
    assert b"detached; the command goes on" in shown
    assert terminal.end() == 130
    assert terminal.shown.rfind(b"\x1b[?25h") > terminal.shown.rfind(b"\x1b[?25l"), "no cursor"


def test_a_run_ends_with_the_whole_table(
    fleet: "ContractCenter", environment: dict[str, str]
) -> None:
    for name in fleet.nodes:
        output = [{"offset": 0, "stream": "stdout", "text": "up\n3 days\n"}]
        fleet.plan[name] = [{"state": "succeeded", "output": output}]
    terminal = Terminal(
        "run", "--all", "exec", "--", "uptime", env={**environment, "COLUMNS": "160"}
    )
    terminal.until(rb"3 targets, 3 succeeded")
    assert terminal.end() == 0
    assert terminal.shown.count(b"stdout") == 3


def test_numbers_are_whole_on_a_narrow_terminal(
    fleet: "ContractCenter", environment: dict[str, str]
) -> None:
    t = [n * 1000 for n in range(60)]
    series = "net.receive_bytes_total{interface=a-rather-long-name}"
    fleet.series = {series: {"t": t, "v": [n * 123456 for n in range(60)]}}
    terminal = Terminal("telemetry", next(iter(fleet.nodes)), env={**environment, "COLUMNS": "80"})
    terminal.until(rb"newest sample")
    assert terminal.end() == 0
    assert terminal.shown.count(b"121 KiB/s") == 4


@pytest.mark.parametrize("forced", ["", "1"])
@pytest.mark.parametrize("command", ["nodes", "groups", "run --all ping --detach", "nodes --json"])
def test_a_pipe_gets_plain_whole_text(
    fleet: "ContractCenter", environment: dict[str, str], command: str, forced: str
) -> None:
    env = {**environment, "COLUMNS": "20", **({"FORCE_COLOR": forced} if forced else {})}
    done = subprocess.run(
        [PROGRAM, *command.split()], env=env, capture_output=True, text=True, timeout=DEADLINE_S,
        check=True,
    )  # fmt: skip
    assert not CONTROL.search(done.stdout)
    assert "…" not in done.stdout
    if command == "nodes":
        assert done.stdout.count("x" * 40) == 3


def test_an_ascii_locale_is_no_crash(fleet: "ContractCenter", environment: dict[str, str]) -> None:
    fleet.series = {"cpu.percent": {"t": [0, 1000], "v": [1, 2]}}
    node = next(iter(fleet.nodes))
    env = {**environment, "PYTHONIOENCODING": "ascii"}
    args = [PROGRAM, "telemetry", node]
    done = subprocess.run(args, env=env, capture_output=True, timeout=DEADLINE_S, check=True)
    assert b"??" in done.stdout


def test_a_thousand_targets_stay_on_one_screen(
    center: "ContractCenter", environment: dict[str, str]
) -> None:
    for n in range(1, 1001):
        center.add_node(f"sim-{n:04d}")
        output = [{"offset": 0, "stream": "stdout", "text": "up 3 days\nload 1\n"}]
        center.plan[f"sim-{n:04d}"] = [{"state": "succeeded", "output": output}]
    center.plan["sim-0500"] = [{"state": "failed", "error": {"message": "exit code 3"}}]
    center.plan["sim-0999"] = [{"state": "running"}]
    env = {**environment, "COLUMNS": "100", "LINES": "20"}
    terminal = Terminal("run", "--all", "exec", "--", "uptime", env=env)
    terminal.until(rb"999 of 1,000")
    terminal.until(rb"sim-0500[^\n]*exit code 3")
    record = center.commands["c1"]
    center.on_loop(
        lambda: center.step(
            record, record["targets"][998], {"state": "succeeded", "output": output}
        )
    )
    terminal.until(rb"slowest")
    assert terminal.end() == 1
    assert rb"--- 999 nodes succeeded: sim-[0001-0499,0501-1000]" in terminal.shown
    # Once in a live picture of 20 lines there is no room for the 400th node.
    assert b"sim-0400" not in terminal.shown


def test_a_job_is_a_live_picture_and_ctrl_c_leaves_it(
    center: "ContractCenter", environment: dict[str, str]
) -> None:
    center.jobs = {"01kx2": rollout()}
    terminal = Terminal("job", "watch", "01kx2", env={**environment, "COLUMNS": "110"})
    terminal.until(rb"Ctrl-C detaches; the job goes on")
    terminal.until("█".encode())
    terminal.process.send_signal(signal.SIGINT)
    terminal.until(rb"see it again: farshore --url \S+ job watch 01kx2")
    assert terminal.end() == 130
    assert re.search("\x1b\\[31m✗+".encode(), terminal.shown)
    assert re.search("\x1b\\[32m█+".encode(), terminal.shown)
    assert terminal.shown.rfind(b"\x1b[?25h") > terminal.shown.rfind(b"\x1b[?25l"), "no cursor"


def test_a_task_that_is_waited_for_is_a_live_picture_that_stays(
    center: "ContractCenter", environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "camera.yaml"
    file.write_text("name: camera\nkind: service\ndriver: process\ncount: 3\n")
    terminal = Terminal("task", "put", str(file), "--wait", env={**environment, "COLUMNS": "80"})
    assert center.subscribed.wait(DEADLINE_S)
    waits = task_center.instance(2, "pending", pending_reason="cpu refuses 3\x1b[2J")
    runs = [task_center.instance(n, "running", f"pi-{n}") for n in (0, 1)]
    task_center.move(center, "camera", "degraded", *runs, waits)
    terminal.until(rb"cpu refuses 3\\x1b\[2J")
    terminal.until(rb"Ctrl-C detaches")
    task_center.move(center, "camera", "running", *runs, task_center.instance(2, "running", "pi-2"))
    assert terminal.end() == 0
    last = terminal.shown.decode().rpartition("Ctrl-C detaches")[2]
    assert "3 running" in last, "the last picture stays"
    assert last.rstrip().endswith("camera: running")


def test_ctrl_c_leaves_a_task_that_is_waited_for(
    center: "ContractCenter", environment: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "camera.yaml"
    file.write_text("name: camera\nkind: service\ndriver: process\n")
    terminal = Terminal("task", "put", str(file), "--wait", env=environment)
    terminal.until(rb"Ctrl-C detaches")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert b"the task goes on: farshore task get camera" in terminal.shown.replace(
        f" --url {center.url}".encode(), b""
    )


def test_a_drain_is_a_live_picture_that_makes_room_for_its_end(
    center: "ContractCenter", environment: dict[str, str]
) -> None:
    items = [task_center.item(name, "running") for name in ("web", "report")]
    center.drains["pi-1"] = task_center.drain_of("pi-1", *items)
    terminal = Terminal("node", "drain", "pi-1", "--wait", env={**environment, "COLUMNS": "80"})
    assert center.subscribed.wait(DEADLINE_S)
    task_center.leave(center, "pi-1", items[0])
    terminal.until(rb"1 of 2 instances have left")
    terminal.until(rb"Ctrl-C detaches; the draining goes on")
    task_center.leave(center, "pi-1")
    assert terminal.end() == 0
    last = terminal.shown.decode().rpartition("\x1b[?25h")[2]
    assert "instances have left" not in last, "the sentence takes the picture's place"
    assert last.rstrip().endswith("pi-1 is drained: no task is on it")
