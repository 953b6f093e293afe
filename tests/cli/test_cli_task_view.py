"""What ``farshore task list``, ``get``, ``explain`` and ``history`` show of a task."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from cli.task_center import SINCE, instance, task
from farshore_center.cli.task_view import disconnect_text, requests_text
from typer.testing import Result

if TYPE_CHECKING:
    from cli.conftest import ContractCenter


Cli = Callable[..., Result]


def test_tasks_are_listed_shown_and_given_back_as_they_were_put(
    center: "ContractCenter", cli: Cli
) -> None:
    assert cli("task", "list").stdout == "no tasks yet: farshore task example\n"
    center.tasks["camera"] = task(
        state="degraded",
        spec={"count": 2, "group": "eu", "requests": {"cpu_cores": 0.5, "memory_bytes": 2**28}},
        instances=[
            instance(0, "running", "pi-1", healthy=True, cpus=[2, 3]),
            instance(1, "pending", pending_reason="none of 2 nodes: cpu refuses 2\x1b[31m"),
        ],
    )
    listed = cli("task", "list").stdout.splitlines()
    assert listed[0].split()[:6] == ["NAME", "KIND", "STATE", "RUNNING", "PRIORITY", "GROUP"]
    assert listed[1].split()[:6] == ["camera", "service", "degraded", "1/2", "50", "eu"]
    shown = cli("task", "get", "camera").stdout
    assert "0.5 cores, 256 MiB" in shown
    assert "none of 2 nodes: cpu refuses 2\\x1b[31m" in shown
    assert "2,3" in shown
    spec = json.loads(cli("task", "get", "camera", "--spec").stdout)
    assert spec["name"] == "camera"
    assert spec["count"] == 2
    assert "instances" not in spec
    assert cli("task", "get", "nobody").exit_code == 1


def test_an_explanation_shows_the_best_first_and_why_not_the_others(
    center: "ContractCenter", cli: Cli
) -> None:
    center.explained["camera"] = {"instances": [{
        "instance": 0, "decided_at": SINCE, "decision": "placed", "node": "pi-2",
        "policy": "default", "scores": {"bin_packing": 0.75}, "rejected": {"cpu": 4, "selector": 1200},
        "candidates": [
            {"node": "pi-1", "score": 0.25, "parts": {"bin_packing": 0.25}},
            {"node": "pi-9", "score": 0.9, "filter": "cpu", "why": "cpu: 0.2 cores are free"},
            {"node": "pi-2", "score": 0.75, "parts": {"bin_packing": 0.75}},
        ],
        "estimate": [
            {"name": "run", "value": 12.3456, "unit": "s", "origin": "measured"},
            {"name": "cost", "value": None, "unit": "money", "origin": "unknown"},
        ],
        "links": [
            {"node": "pi-1", "up_bytes_s": 1.2e6, "down_bytes_s": 800.0, "round_trip_s": 0.04,
             "measured_at": SINCE},
            {"node": "pi-9", "up_bytes_s": 1e6, "down_bytes_s": 2e9, "round_trip_s": None,
             "measured_at": None},
        ],
    }]}  # fmt: skip
    lines = cli("task", "explain", "camera").stdout.splitlines()
    assert lines[0].startswith("camera/0  placed on pi-2")
    assert lines[1:3] == ["  refused: selector 1,200, cpu 4", "  scores: bin_packing 0.75"]
    assert lines[3] == "  estimates: run 12.3 s (measured), cost - money (unknown)"
    assert lines[4].startswith(
        "  link of pi-1: up 1.2 MB/s, down 800 B/s, round trip 40 ms; measured "
    )
    assert lines[4].endswith(" ago")
    assert lines[5] == "  link of pi-9: up 1 MB/s, down 2 GB/s; assumed, it was never measured"
    assert [line.split()[0] for line in lines[6:]] == ["NODE", "pi-2", "pi-1", "pi-9"]
    assert "cpu: 0.2 cores are free" in lines[-1]


def test_an_instance_that_waits_says_why_once(center: "ContractCenter", cli: Cli) -> None:
    center.explained["big"] = {"instances": [{
        "instance": 0, "decided_at": SINCE, "decision": "pending", "node": None, "policy": "default",
        "scores": {}, "rejected": {"cpu": 3}, "candidates": None, "estimate": [],
        "reason": "none of 3 nodes: cpu refuses 3",
    }]}  # fmt: skip
    shown = cli("task", "explain", "big").stdout
    assert shown.splitlines()[1:] == ["  none of 3 nodes: cpu refuses 3"]


def test_a_history_says_when_where_why_and_by_whom(center: "ContractCenter", cli: Cli) -> None:
    line = {"at": SINCE, "instance": 0, "epoch": 7, "node": "pi-1", "state": "lost",
            "reason": "nothing was heard", "by": "center"}  # fmt: skip
    center.task_history["camera"] = [line, line | {"instance": None, "node": None}]
    shown = cli("task", "history", "camera").stdout.splitlines()
    assert shown[1].split()[1:6] == ["instance", "0", "lost", "pi-1", "center"]
    assert shown[2].split()[1:3] == ["the", "task"]


@pytest.mark.parametrize(
    ("contract", "says"),
    [
        ({}, "goes on; after 30s also elsewhere; then the replacement stays"),
        ({"on_reconnect": "keep_original"}, "goes on; after 30s also elsewhere; then the original stays"),
        ({"replace": False, "lost_after_s": 90}, "goes on; lost after 1m, and not replaced"),
        ({"on_disconnect": "stop", "lost_after_s": 15}, "ended at the node within 15s, then elsewhere"),
    ],
)  # fmt: skip
def test_the_contract_is_told_in_a_sentence(contract: dict[str, Any], says: str) -> None:
    assert disconnect_text(contract) == says


def test_requests_are_told_with_their_units() -> None:
    gpu = {"milli": 333, "models": ["T4"]}
    asked = {"cpu_cores": 2, "memory_bytes": 2**31, "gpu": gpu, "devices": ["cam0"]}
    assert requests_text(asked) == "2 cores, 2.0 GiB, 0.333 GPU (T4), device cam0"
