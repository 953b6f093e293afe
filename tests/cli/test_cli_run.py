"""``farshore run`` and what belongs to it, as a process on a pipe: it follows to the true end."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from farshore_center.cli.follow import POLL_S
from typer.testing import Result

if TYPE_CHECKING:
    from cli.conftest import ContractCenter

pytestmark = pytest.mark.processes

Farshore = Callable[..., "subprocess.CompletedProcess[str]"]
PROGRAM = str(Path(sys.executable).with_name("farshore"))
DEADLINE_S = 60

RUNNING = {"state": "running"}
OK = {"state": "succeeded", "result": {"rtt_ms": 3}}
BROKEN = {"state": "failed", "error": {"code": "exit", "message": "exit code 3"}}


def wrote(*texts: str, stream: str = "stdout") -> dict[str, Any]:
    chunks, offset = [], 0
    for text in texts:
        chunks.append({"offset": offset, "stream": stream, "text": text})
        offset += len(text)
    return {"state": "running", "output": chunks}


@pytest.fixture
def farshore(center: "ContractCenter", environment: dict[str, str]) -> Farshore:
    def run(*args: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [PROGRAM, *args], env=environment, capture_output=True, text=True, timeout=DEADLINE_S,
            check=False,
        )  # fmt: skip

    for name in ("pi-1", "pi-2"):
        center.add_node(name)
        center.plan[name] = [RUNNING, OK]
    return run


@pytest.mark.parametrize("when", ["post", "subscribe", "look"])
def test_the_end_is_seen_whenever_it_comes(
    center: "ContractCenter", farshore: Farshore, when: str
) -> None:
    """Before the subscription, at its beginning, and after the record was looked at."""
    center.when = when
    done = farshore("run", "pi-1", "pi-2", "ping")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "pi-1  succeeded   0.25s  rtt_ms=3",
        "pi-2  succeeded   0.25s  rtt_ms=3",
        "c1: 2 targets, 2 succeeded",
    ]


def test_a_result_that_says_itself_in_one_line_is_shown_so(
    center: "ContractCenter", farshore: Farshore
) -> None:
    result = {"over": "mqtt://x:1", "summary": "round trip 1.2 ms", "round_trip": {"sent": 10}}
    center.plan["pi-1"] = [{"state": "succeeded", "result": result}]
    done = farshore("run", "pi-1", "link-test")
    assert done.stdout.splitlines()[0].endswith("round trip 1.2 ms"), done.stdout
    assert "mqtt://" not in done.stdout.splitlines()[0]


def test_it_subscribes_before_it_looks(center: "ContractCenter", farshore: Farshore) -> None:
    farshore("run", "pi-1", "ping")
    asked = [(method, path, params["!accept"]) for method, path, params, _ in center.asked]
    assert asked[:4] == [
        ("POST", "/commands", "application/json"),
        ("GET", "/commands/c1", "application/json"),  # it may be done at once
        ("GET", "/events", "text/event-stream"),
        ("GET", "/commands/c1", "application/json"),
    ]
    assert center.asked[1][2]["wait_s"] == "0.5"
    assert center.asked[2][2]["command"] == "c1"


def test_without_live_events_it_polls(center: "ContractCenter", farshore: Farshore) -> None:
    center.sse = False
    center.when = "look"
    assert farshore("run", "--all", "ping").returncode == 0
    assert POLL_S <= 1


def test_one_failed_target_is_exit_code_1(center: "ContractCenter", farshore: Farshore) -> None:
    center.plan["pi-2"] = [RUNNING, wrote("no such file\n", stream="stderr"), BROKEN]
    done = farshore("run", "pi-1", "pi-2", "exec", "--", "false")
    assert done.returncode == 1
    assert "pi-2  failed      0.25s  exit code 3: no such file" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1] == "c1: 2 targets, 1 failed, 1 succeeded"


def test_exec_prints_what_the_program_wrote(center: "ContractCenter", farshore: Farshore) -> None:
    center.plan["pi-1"] = [
        wrote("up 3 days\n", "a \x1b[31mred\x1b[0m line\n"),
        {"state": "succeeded", "result": {"exit_code": 0, "signal": None}},
    ]
    done = farshore("run", "pi-1", "exec", "--ttl", "5", "--", "uptime", "-p", "--", "--json")
    assert done.stdout.splitlines() == [
        "pi-1  succeeded   0.25s  up 3 days",
        "--- pi-1 stdout",
        "up 3 days",
        "a \\x1b[31mred\\x1b[0m line",
        "c1: 1 target, 1 succeeded",
    ]
    assert center.asked[0][3] == {
        "node": "pi-1",
        "verb": "exec",
        "args": {"argv": ["uptime", "-p", "--", "--json"]},
        "ttl_s": 5.0,
        "timeout_s": None,
    }


def test_a_line_that_was_shown_is_not_shown_twice(
    center: "ContractCenter", farshore: Farshore
) -> None:
    center.plan["pi-1"] = [wrote("up 3 days\n"), {"state": "succeeded"}]
    assert farshore("run", "pi-1", "exec", "--", "uptime").stdout.splitlines() == [
        "pi-1  succeeded   0.25s  up 3 days",
        "c1: 1 target, 1 succeeded",
    ]


def test_arguments_are_json_where_they_parse(center: "ContractCenter", farshore: Farshore) -> None:
    args = ("--arg", "n=3", "--arg", "list=[1,2]", "--arg", "name=a=b", "--arg", "x=NaN")
    farshore("run", "--all", "ping", *args)
    body = center.asked[0][3]
    assert body["all"] is True
    assert body["args"] == {"n": 3, "list": [1, 2], "name": "a=b", "x": "NaN"}


def test_json_is_the_commands_record_at_its_end(farshore: Farshore) -> None:
    done = farshore("run", "pi-1", "ping", "--json")
    document = json.loads(done.stdout)
    assert document["done"]
    assert [target["state"] for target in document["targets"]] == ["succeeded"]


def test_detach_does_not_wait(center: "ContractCenter", farshore: Farshore) -> None:
    center.plan.clear()
    done = farshore("run", "pi-1", "pi-2", "ping", "--detach")
    assert done.returncode == 0
    assert done.stdout == "c1  ping for 2 nodes\n"
    assert f"farshore --url {center.url} command c1" in done.stderr


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_detaches_and_cancels_nothing(
    center: "ContractCenter", farshore: Farshore, environment: dict[str, str], as_json: bool
) -> None:
    center.plan.clear()
    args = [PROGRAM, "run", "pi-1", "ping", *(["--json"] if as_json else [])]
    pipe = subprocess.PIPE
    with subprocess.Popen(args, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        assert center.subscribed.wait(DEADLINE_S)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert f"see it again: farshore --url {center.url} command c1 --follow\n" in err
    assert f"cancel it:    farshore --url {center.url} cancel c1\n" in err
    assert "Traceback" not in err
    assert not [path for _, path, _, _ in center.asked if path.endswith("/cancel")]
    if as_json:
        assert json.loads(out)["done"] is False
    else:
        assert out == ""


def test_a_command_can_be_seen_listed_and_cancelled(
    center: "ContractCenter", cli: Callable[..., Result]
) -> None:
    center.add_node("pi-1")
    cli("run", "pi-1", "ping", "--detach")
    assert "queued" in cli("command", "c1").stdout
    listed = cli("commands").stdout.splitlines()[1].split()
    assert listed[:2] == ["c1", "ping"]
    assert listed[-3:] == ["no", "1", "queued"]
    assert cli("cancel", "c1").stdout == "c1: 1 cancelled\n"
    again = cli("cancel", "c1")
    assert again.exit_code == 1
    assert "too far on to be cancelled: pi-1 (cancelled)" in again.stderr
    assert cli("command", "c1").stdout.splitlines()[-1] == "c1: 1 target, 1 cancelled"
    assert cli("command", "c1").exit_code == 0
    assert cli("command", "c1", "--follow").exit_code == 1
    assert json.loads(cli("command", "c1", "--json").stdout)["id"] == "c1"


def test_nobody_is_refused_unless_it_is_meant(
    center: "ContractCenter", cli: Callable[..., Result]
) -> None:
    refused = cli("run", "label.env=none", "ping")
    assert refused.exit_code == 2
    assert "it means no node now" in refused.stderr
    allowed = cli("run", "label.env=none", "ping", "--allow-empty")
    assert allowed.exit_code == 0
    assert allowed.stdout == "c1: no targets\n"
    assert center.asked[1][3]["allow_empty"] is True


def many(center: "ContractCenter", number: int) -> None:
    for n in range(1, number + 1):
        name = f"sim-{n:04d}"
        center.add_node(name)
        center.plan[name] = [wrote("up 3 days\nload 1\n"), {"state": "succeeded"}]
    center.plan["sim-0007"] = [wrote("no disk\n", stream="stderr"), BROKEN]


def test_a_thousand_answers_on_a_pipe_are_a_line_each_or_gathered(
    center: "ContractCenter", cli: Callable[..., Result]
) -> None:
    many(center, 1000)
    center.when = "look"
    lines = cli("run", "--all", "exec", "--", "uptime")
    assert lines.exit_code == 1
    assert len(lines.stdout.splitlines()) == 1001
    assert f"farshore --url {center.url} command c1 --gather\n" in lines.stderr
    again = cli("command", "c1", "-b")
    assert again.stdout.splitlines()[1:-1] == [
        "--- 1 node failed: sim-0007",
        "exit code 3",
        "no disk",
        "--- 999 nodes succeeded: sim-[0001-0006,0008-1000]",
        "up 3 days",
        "load 1",
    ]
    gathered = cli("run", "--all", "exec", "--gather", "--", "uptime")
    assert gathered.stdout.splitlines()[:-1] == again.stdout.splitlines()[1:-1]
    assert "1,000 targets, 999 succeeded, 1 failed; slowest: sim-0001 0.25s" in gathered.stdout


def test_folded_names_are_taken_back(center: "ContractCenter", cli: Callable[..., Result]) -> None:
    many(center, 12)
    assert cli("run", "sim-[0007,0011-0012]", "ping", "--detach").exit_code == 0
    assert center.asked[-1][3]["nodes"] == ["sim-0007", "sim-0011", "sim-0012"]


def test_why_a_target_never_answered_is_said(
    center: "ContractCenter", cli: Callable[..., Result]
) -> None:
    center.add_node("pi-1")
    center.plan["pi-1"] = [{"state": "expired", "reason": "node was not online"}]
    result = cli("run", "pi-1", "ping")
    assert result.stdout.splitlines()[0] == "pi-1  expired     0.25s  node was not online"
    assert result.exit_code == 1


def test_a_center_that_goes_away_for_good_leaves_the_way_back(
    center: "ContractCenter", cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farshore_center.cli.follow.POLL_S", 0.01)
    monkeypatch.setattr("farshore_center.cli.follow.PATIENCE_S", 0.1)
    center.add_node("pi-1")
    center.sse, center.when = False, "never"
    center.then_fail = 503
    result = cli("run", "pi-1", "ping")
    assert result.exit_code == 3
    assert "farshore: the center does not answer; waiting for it\n" in result.stderr
    assert (
        f"the command goes on: farshore --url {center.url} command c1 --follow\n" in result.stderr
    )
