"""``farshore task``: put, followed, steered, its logs, against a center that a test moves."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cli.task_center import SINCE, instance, move, task
from farshore_center.cli.config_input import read_document
from farshore_center.cli.errors import BadUsageError
from farshore_center.cli.task_example import EXAMPLES
from farshore_center.cli.task_input import written
from farshore_center.cli.task_watch import happened, verdict
from farshore_center.selectors import parse
from farshore_center.tasks.checking import Known, accepted
from typer.testing import Result

if TYPE_CHECKING:
    from cli.conftest import ContractCenter
from cli.task_following import DEADLINE_S, PROGRAM, follow

Cli = Callable[..., Result]

CRON = {"kind": "batch", "cron": "0 2 * * *"}
CAMERA = "name: camera\nkind: service\ndriver: process\nrun: {argv: [/bin/cam]}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "camera.yaml"
    found.write_text(CAMERA)
    return found


def test_a_task_is_put_from_a_file_with_its_name_in_it(
    center: "ContractCenter", cli: Cli, file: Path
) -> None:
    made = cli("task", "put", str(file), "--author", "ada")
    assert made.exit_code == 0, made.output
    assert made.stdout == "camera: revision 1\n"
    assert made.stderr == (
        f"note: driver: nobody has it yet\nsee it: farshore --url {center.url} task get camera\n"
    )
    method, path, _, body = center.asked[0]
    assert (method, path) == ("PUT", "/tasks/camera")
    assert body == {"kind": "service", "driver": "process", "run": {"argv": ["/bin/cam"]}}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.json", '{"name": "camera", "kind": "service", "driver": "process"}'),
        ("t.toml", 'name = "camera"\nkind = "service"\ndriver = "process"\n'),
        ("t.yaml", "name: camera\nkind: service\ndriver: process\n"),
    ],
)
def test_a_file_may_be_json_toml_or_yaml(
    center: "ContractCenter", cli: Cli, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    assert cli("task", "put", str(tmp_path / name), "--name", "other").exit_code == 0
    assert center.asked[0][1] == "/tasks/other"
    assert center.asked[0][3] == {"kind": "service", "driver": "process"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"since = 2026-01-01\n", "write it in quotes"),
        (b"a = \n", "t.toml"),
        (b"a = nan\n", "t.toml"),
        (b"a = 1\na = 2\n", "t.toml"),
    ],
)
def test_a_toml_file_says_what_is_wrong_with_it(text: bytes, says: str) -> None:
    with pytest.raises(BadUsageError, match=says):
        read_document(text, "t.toml")


@pytest.mark.parametrize(
    ("document", "says"),
    [([], "expected a task"), ({"kind": "batch"}, "which task"), ({"name": 3}, "name: expected")],
)
def test_a_file_that_is_no_task_asks_nobody(document: Any, says: str) -> None:
    with pytest.raises(BadUsageError, match=says):
        written(document, "t.yaml", None)


def test_a_refused_field_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("name: x\nkind: batch\n")
    refused = cli("task", "put", str(tmp_path / "t.yaml"))
    assert refused.exit_code == 2
    assert "driver: it is missing (expected a driver)" in refused.stderr


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_example_is_taken_as_it_stands(cli: Cli, name: str) -> None:
    shown = cli("task", "example", name)
    assert shown.exit_code == 0
    found = written(read_document(shown.stdout.encode(), "example.yaml"), "example.yaml", None)
    known = Known(read=parse, groups=frozenset({"core"}))
    assert accepted(found.name, found.spec, known, 1_767_225_600_000).spec.kind
    again = json.loads(cli("task", "example", name, "--json").stdout)
    assert again == {"name": found.name, **found.spec}


def test_an_example_that_there_is_not_is_bad_usage(cli: Cli) -> None:
    refused = cli("task", "example", "spark")
    assert refused.exit_code == 2
    assert "expected service, batch" in refused.stderr


@pytest.mark.processes
def test_put_and_wait_tells_each_step_until_it_runs(
    center: "ContractCenter", environment: dict[str, str], file: Path
) -> None:
    process, timer = follow(center, environment, "task", "put", str(file), "--wait")
    move(center, "camera", "pending", instance(0, "pending", pending_reason="cpu refuses 3"))
    line = ""
    while "cpu refuses 3" not in line:
        line = process.stdout.readline()
        assert line
    move(center, "camera", "pending", instance(0, "starting", "pi-1"))
    while "starting on pi-1" not in line:
        line = process.stdout.readline()
        assert line
    move(center, "camera", "running", instance(0, "running", "pi-1"))
    rest, _ = process.communicate(timeout=DEADLINE_S)
    timer.cancel()
    assert process.returncode == 0
    assert rest.splitlines()[0] == f"{SINCE}  instance 0: running on pi-1"
    assert rest.splitlines()[-1] == "camera: running"


@pytest.mark.processes
def test_a_batch_that_failed_is_exit_code_1(
    center: "ContractCenter", environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "b.yaml").write_text("name: report\nkind: batch\ndriver: process\n")
    words = ("--json", "task", "put", str(tmp_path / "b.yaml"), "-w")
    process, timer = follow(center, environment, *words)
    failed = instance(0, "failed", "pi-1", exit_code=3)
    move(center, "report", "failed", failed)
    out, _ = process.communicate(timeout=DEADLINE_S)
    timer.cancel()
    assert process.returncode == 1
    assert json.loads(out)["instances"][0]["exit_code"] == 3


@pytest.mark.processes
def test_waiting_ends_with_its_time(
    center: "ContractCenter", environment: dict[str, str], file: Path
) -> None:
    done = subprocess.run(
        [PROGRAM, "task", "put", str(file), "--wait", "--timeout", "1s"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 1
    assert "camera is pending after 1s" in done.stderr


def test_a_time_without_waiting_is_bad_usage(
    center: "ContractCenter", cli: Cli, file: Path
) -> None:
    assert cli("task", "put", str(file), "--timeout", "5s").exit_code == 2
    assert center.asked == []


@pytest.mark.parametrize(
    ("found", "until", "code"),
    [
        (task(state="pending"), "runs", None),
        (task(state="running"), "runs", 0),
        (task(state="degraded"), "runs", None),
        (task(state="failed"), "runs", 1),
        (task(state="running", spec={"kind": "batch"}), "runs", None),
        (task(state="done", spec={"kind": "batch"}), "runs", 0),
        (task(state="pending", spec=CRON, next=SINCE), "runs", 0),
        (task(state="pending", spec=CRON, next=SINCE, instances=[instance(0, "stopped")]), "runs", 0),
        (task(state="failed", spec=CRON, next=SINCE, instances=[instance(0, "failed")]), "runs", 0),
        (
            task(state="pending", spec=CRON, next=SINCE, instances=[instance(0, "pending")]),
            "runs",
            None,
        ),
        (task(state="running"), "stopped", None),
        (task(state="stopped"), "stopped", 0),
        (task(state="failed"), "stopped", 0),
    ],
)  # fmt: skip
def test_when_waiting_is_over(found: Any, until: str, code: int | None) -> None:
    assert verdict(found, until=until) == code


def test_what_happened_is_said_once() -> None:
    first = task(
        state="pending", instances=[instance(0, "pending"), instance(1, "running", "pi-1")]
    )
    then = task(instances=[instance(0, "running", "pi-2"), instance(1, "running", "pi-1")])
    assert list(happened(first, first, "now")) == []
    assert list(happened(first, then, "now")) == [
        f"{SINCE}  instance 0: running on pi-2",
        "now  camera: running",
    ]


@pytest.mark.parametrize(
    ("way", "state"), [("stop", "stopped"), ("start", "pending"), ("restart", "pending")]
)
def test_a_task_is_steered(center: "ContractCenter", cli: Cli, way: str, state: str) -> None:
    center.tasks["camera"] = task()
    assert cli("task", way, "camera").stdout == f"camera: {state}\n"
    assert center.asked[0][:2] == ("POST", f"/tasks/camera/{way}")


def test_a_stop_is_followed_until_it_is_one(center: "ContractCenter", cli: Cli) -> None:
    center.tasks["camera"] = task()
    said = cli("task", "stop", "camera", "--wait", "--timeout", f"{DEADLINE_S}s")
    assert (said.exit_code, said.stdout.splitlines()[-1]) == (0, "camera: stopped")


def test_a_task_is_deleted(center: "ContractCenter", cli: Cli) -> None:
    center.tasks["camera"] = task()
    said = cli("task", "delete", "camera")
    assert (said.exit_code, said.stdout) == (
        0,
        "camera is being ended, and forgotten when it has\n",
    )
    assert center.tasks == {}


def test_which_log_must_be_said_where_there_are_several(center: "ContractCenter", cli: Cli) -> None:
    center.tasks["camera"] = task(
        instances=[instance(0, "running", "pi-1"), instance(1, "running", "pi-2")]
    )
    refused = cli("task", "logs", "camera")
    assert refused.exit_code == 2
    assert "0 on pi-1, 1 on pi-2" in refused.stderr
    center.tasks["camera"] = task(instances=[instance(0, "pending")])
    assert "is on no node" in cli("task", "logs", "camera").stderr


def test_a_log_is_asked_of_the_node_that_has_it(center: "ContractCenter", cli: Cli) -> None:
    center.add_node("pi-2")
    center.tasks["camera"] = task(
        instances=[instance(0, "running", "pi-1"), instance(1, "running", "pi-2")]
    )
    center.when = "post"
    output = [{"offset": 0, "stream": "stdout", "text": "hi\n"}]
    center.plan["pi-2"] = [{"state": "succeeded", "result": {"lines": 1}, "output": output}]
    shown = cli("task", "logs", "camera", "-i", "1", "-n", "5", "--grep", "h")
    assert (shown.exit_code, shown.stdout) == (0, "hi\n")
    body = next(asked[3] for asked in center.asked if asked[:2] == ("POST", "/commands"))
    assert (body["node"], body["verb"]) == ("pi-2", "logs")
    assert body["args"] == {"unit": "camera/1", "lines": 5, "grep": "h"}
