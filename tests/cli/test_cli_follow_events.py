"""``farshore events --follow``: live, across cut connections, without a gap and without a repeat."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cli.conftest import ContractCenter

pytestmark = pytest.mark.processes

PROGRAM = str(Path(sys.executable).with_name("farshore"))
DEADLINE_S = 60


@pytest.fixture
def following(
    center: "ContractCenter", environment: dict[str, str], request: pytest.FixtureRequest
) -> Iterator["subprocess.Popen[str]"]:
    center.on_loop(lambda: center.emit("node.online", "old"))
    args = [PROGRAM, "events", "--follow", *request.param]
    pipe = subprocess.PIPE
    with subprocess.Popen(args, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        # Reading a line has no deadline of its own: the end of the process is its end.
        timer = threading.Timer(DEADLINE_S, process.kill)
        timer.start()
        try:
            assert center.subscribed.wait(DEADLINE_S)
            yield process
        finally:
            timer.cancel()
            process.kill()


def read_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("following", [["--json"]], indirect=True)
def test_a_cut_loses_nothing_and_repeats_nothing(
    center: "ContractCenter", following: "subprocess.Popen[str]"
) -> None:
    center.on_loop(lambda: center.emit("node.online", "pi-1"))
    assert json.loads(read_line(following))["node"] == "pi-1"
    center.subscribed.clear()
    center.on_loop(center.cut)
    # While nobody listens: told at the return, by the id of the last one seen.
    center.on_loop(lambda: center.emit("node.offline", "pi-2"))
    assert json.loads(read_line(following))["node"] == "pi-2"
    following.send_signal(signal.SIGINT)
    out, err = following.communicate(timeout=DEADLINE_S)
    assert following.returncode == 130
    assert out == err == ""


@pytest.mark.parametrize("following", [["--node", "pi-1"]], indirect=True)
def test_only_what_was_asked_for_and_only_new_ones(
    center: "ContractCenter", following: "subprocess.Popen[str]"
) -> None:
    center.on_loop(lambda: center.emit("node.online", "pi-2"))
    center.on_loop(lambda: center.emit("node.online", "pi-1", text="a\x1b[2Jb"))
    fields = read_line(following).split()
    assert fields[0] == "3"
    assert fields[2:] == ["node.online", "pi-1", "text=a\\x1b[2Jb"]


@pytest.mark.parametrize("following", [["--since", "0"]], indirect=True)
def test_since_begins_in_the_past(following: "subprocess.Popen[str]") -> None:
    assert read_line(following).split()[3] == "old"
