"""``farshore diagnose``: one document in one file, or what is wrong."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cli.conftest import ContractCenter

pytestmark = pytest.mark.processes

PROGRAM = str(Path(sys.executable).with_name("farshore"))
FOUND: dict[str, Any] = {
    "node": "pi-1",
    "agent_version": "0.1.0",
    "at": 5,
    "sections": {"agent": {"boot": "b"}, "disk": {"error": "disk I/O error"}, "commands": []},
    "log": ["one", "two"],
    "log_cut_lines": 0,
    "redacted": 1,
}
OK = {"state": "succeeded", "result": FOUND}

Farshore = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def farshore(center: "ContractCenter", environment: dict[str, str], tmp_path: Path) -> Farshore:
    center.add_node("pi-1")
    center.plan["pi-1"] = [{"state": "running"}, OK]

    def run(*args: str) -> "subprocess.CompletedProcess[str]":
        argv = [PROGRAM, *args]
        return subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=30, cwd=tmp_path,
            check=False,
        )  # fmt: skip

    return run


def test_it_is_saved_for_its_owner_alone_and_says_what_is_in_it(
    farshore: Farshore, tmp_path: Path
) -> None:
    done = farshore("diagnose", "pi-1")
    assert done.returncode == 0, done.stderr
    [file] = tmp_path.glob("pi-1-*.json")
    assert json.loads(file.read_text()) == FOUND
    assert file.stat().st_mode & 0o777 == 0o600
    assert done.stdout == (
        f"{file.name}  2 sections, 2 lines of log, 1 secret left out, not found out: disk\n"
    )


def test_where_it_is_saved_can_be_said_and_it_can_be_piped(
    farshore: Farshore, tmp_path: Path, center: "ContractCenter"
) -> None:
    file = tmp_path / "x.json"
    file.write_text("old")
    assert farshore("diagnose", "pi-1", "-o", str(file), "--lines", "5").returncode == 0
    assert json.loads(file.read_text()) == FOUND
    [body] = [
        body for method, path, _, body in center.asked if (method, path) == ("POST", "/commands")
    ]
    assert body["args"] == {"lines": 5}
    assert (body["node"], body["verb"]) == ("pi-1", "diagnose")
    piped = farshore("diagnose", "pi-1", "--json")
    assert json.loads(piped.stdout) == FOUND
    assert sorted(each.name for each in tmp_path.iterdir()) == ["x.json"]


def test_what_can_not_be_done_is_told(
    farshore: Farshore, center: "ContractCenter", tmp_path: Path
) -> None:
    wrong = farshore("diagnose", "pi-1", "-o", "/nowhere/x.json")
    assert wrong.returncode == 2
    assert "no such folder" in wrong.stderr
    assert not center.asked, "nobody was troubled"
    center.plan["pi-1"] = [
        {"state": "rejected", "error": {"code": "unknown_verb", "message": "no"}}
    ]
    refused = farshore("diagnose", "pi-1")
    assert refused.returncode == 1
    assert "pi-1: rejected: no" in refused.stderr
    assert list(tmp_path.iterdir()) == []
