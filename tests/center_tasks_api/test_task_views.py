"""Tasks are shown as they are."""

from typing import Any

import pytest
from farshore_center.tasks.records import Granted, Instance, Task
from farshore_center.tasks.views import explained, instance_document, state_of, task_document
from farshore_protocol.tasks import TaskSpec

NOW = 1_767_225_600_000


def task(kind: Any = "service", wanted: Any = "run", count: int = 2) -> Task:
    spec = TaskSpec(kind=kind, driver="process", count=count)
    return Task(name="camera", revision=3, spec=spec, digest="sha256:0", wanted=wanted)


@pytest.mark.parametrize(
    ("kind", "wanted", "states", "state"),
    [
        ("service", "run", ["running", "running"], "running"),
        ("service", "run", ["running", "lost"], "degraded"),
        ("service", "run", ["pending", "granted"], "pending"),
        ("service", "run", [], "pending"),
        ("service", "stop", ["running", "stopped"], "stopping"),
        ("service", "stop", ["stopped", "pending"], "stopped"),
        ("service", "delete", ["stopped"], "deleting"),
        ("batch", "run", ["running", "done"], "running"),
        ("batch", "run", ["done", "done"], "done"),
        ("batch", "run", ["failed", "done"], "failed"),
        ("batch", "run", ["failed", "running"], "degraded"),
        ("batch", "run", ["failed", "pending"], "pending"),
        ("batch", "run", [], "pending"),
    ],
)
def test_the_state_of_a_task(kind: str, wanted: str, states: list[str], state: str) -> None:
    assert state_of(task(kind, wanted), [{"state": each} for each in states]) == state


def test_an_active_instance_is_as_its_grant_says() -> None:
    instance = Instance(task="camera", instance=0, state="active", epoch=7, since_ms=NOW)
    grant = Granted(
        task="camera", instance=0, epoch=7, node="pi-1", state="running", since_ms=NOW + 250,
        healthy=True, restarts=2, cpus=(2, 3), gpus=(0,),
    )  # fmt: skip
    assert instance_document(instance, grant) == {
        "instance": 0, "attempt": 0, "epoch": 7, "node": "pi-1", "state": "running",
        "since": "2026-01-01T00:00:00.250Z", "healthy": True, "restarts": 2, "exit_code": None,
        "reason": None, "result": None, "pending_reason": None, "cpus": [2, 3], "gpus": [0],
    }  # fmt: skip


def test_one_that_waits_says_for_what_and_is_on_no_node() -> None:
    reason = "none of 3 nodes: cpu refuses 3"
    instance = Instance(task="camera", instance=1, reason=reason, epoch=7)
    old = Granted(task="camera", instance=1, epoch=7, node="pi-1", state="failed")
    shown = instance_document(instance, old)
    assert (shown["state"], shown["node"]) == ("pending", None)
    assert (shown["pending_reason"], shown["reason"]) == (reason, None)


def test_one_that_ended_says_how_and_what_it_gave() -> None:
    instance = Instance(
        task="camera", instance=0, state="failed", epoch=7, exit_code=3, reason="failed on pi-1",
        result='{"rows":3}',
    )  # fmt: skip
    shown = instance_document(instance, None)
    assert (shown["state"], shown["exit_code"], shown["reason"]) == ("failed", 3, "failed on pi-1")
    assert shown["result"] == {"rows": 3}


def test_a_task_counts_its_instances_and_not_those_that_are_no_longer_meant() -> None:
    instances = [
        Instance(task="camera", instance=number, state=state, epoch=7)
        for number, state in enumerate(["pending", "active", "stopped", "active"])
    ]
    grants = {
        (number, 7): Granted(task="camera", instance=number, epoch=7, node="pi-1", state="running")
        for number in (1, 3)
    }
    shown = task_document(task(), instances, grants)
    assert [each["instance"] for each in shown["instances"]] == [0, 1, 3]
    assert shown["summary"] == {"pending": 1, "running": 2}
    assert (shown["state"], shown["spec"]["count"]) == ("degraded", 2)
    assert "instances" not in task_document(task(), instances, grants, whole=False)


def test_a_decision_is_shown_as_it_was_stored() -> None:
    stored = '{"policy":"fgd","node":"pi-1","rejected":{"cpu":2},"decision":"replaced"}'
    instance = Instance(task="camera", instance=4, state="active", since_ms=NOW, decision=stored)
    shown = explained(instance)
    assert (shown["decision"], shown["node"], shown["policy"]) == ("replaced", "pi-1", "fgd")
    assert (shown["instance"], shown["rejected"]) == (4, {"cpu": 2})
    assert explained(Instance(task="camera", instance=0))["decision"] == "pending"
