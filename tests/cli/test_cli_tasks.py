"""``farshore task``, ``pool``, ``quota`` and ``node drain`` against a center that a test moves."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cli.task_center import SINCE, drain_of, instance, item, leave, move, task
from farshore_center.cli import drain_watch
from farshore_center.cli.config_input import read_document
from farshore_center.cli.errors import BadUsageError
from farshore_center.cli.quotas import amount_bytes
from farshore_center.cli.task_example import EXAMPLES
from farshore_center.cli.task_input import written
from farshore_center.cli.task_view import disconnect_text, requests_text
from farshore_center.cli.task_watch import happened, verdict
from farshore_center.selectors import parse
from farshore_center.tasks.checking import Known, accepted
from typer.testing import Result

if TYPE_CHECKING:
    from cli.conftest import ContractCenter

PROGRAM = str(Path(sys.executable).with_name("farshore"))
DEADLINE_S = 60

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


def follow(center: "ContractCenter", environment: dict[str, str], *words: str) -> Any:
    """``farshore`` as a process; what follows happens once it has subscribed."""
    process = subprocess.Popen(
        [PROGRAM, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    timer = threading.Timer(DEADLINE_S, process.kill)
    timer.start()
    assert center.subscribed.wait(DEADLINE_S)
    return process, timer


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
    assert cli("task", "delete", "camera").exit_code == 0
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


def share(nodes: int, cores: int, reserved: int, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("cpu_milli", "memory_bytes", "disk_bytes", "gpu_milli"), 0)
    return {
        "nodes": nodes, "online": nodes, "drained": 0, "told": nodes,
        "capacity": empty | {"cpu_milli": cores}, "reserved": empty | {"cpu_milli": reserved},
        "free": empty | {"cpu_milli": cores - reserved}, "closed": empty,
        "used": empty, "stranded": empty | {"cpu_milli": 250, "gpu_milli": None}, **more,
    }  # fmt: skip


def test_the_pool_in_all_and_by_group(center: "ContractCenter", cli: Cli) -> None:
    center.pool = {
        "total": share(3, 12_000, 1500),
        "groups": {"eu": share(2, 8000, 1500), "eu/hamburg": share(1, 4000, 0), "us": share(1, 4000, 0)},
    }  # fmt: skip
    shown = cli("pool").stdout.splitlines()
    assert shown[1].split() == ["cores", "12", "1.5", "10.5", "0", "0.25", "0"]
    assert "1.5 of 8 (19%)" in next(line for line in shown if line.startswith("eu "))
    assert shown[-1] == "3 nodes: 3 online"
    some = cli("pool", "--group", "eu").stdout
    assert "us" not in some
    assert "2 nodes: 2 online" in some
    assert cli("pool", "--group", "asia").stdout == "no node is in asia\n"
    assert json.loads(cli("--json", "pool").stdout) == center.pool
    center.pool["doubts"] = {
        "pi-3": ["cpu.cores_logical: 1e+18 is not believed; it counts as 4096"]
    }
    assert cli("pool").stdout.splitlines()[-1] == (
        "pi-3 says cpu.cores_logical: 1e+18 is not believed; it counts as 4096"
    )


def test_the_pool_by_node(center: "ContractCenter", cli: Cli) -> None:
    center.add_node("pi-1", group="eu")
    center.pool = {
        "total": share(2, 8000, 1000), "groups": {"eu": share(1, 4000, 1000)},
        "nodes": {"pi-1": share(1, 4000, 1000), "pi-2": share(1, 4000, 0)},
    }  # fmt: skip
    shown = cli("pool", "--nodes").stdout
    assert "1 of 4 (25%)" in shown
    assert "pi-2" in shown
    assert center.asked[0][2]["nodes"] == "true"
    assert "pi-2" not in cli("pool", "--nodes", "--group", "eu").stdout


def test_silos_are_told_in_a_sentence(center: "ContractCenter", cli: Cli) -> None:
    half = dict.fromkeys(("cpu_milli", "memory_bytes", "disk_bytes", "gpu_milli"), 0.5)
    center.pool = {
        "depth": 1,
        "together": {"nodes": 4, "asked": 4, "placed": 4, "utilisation": half},
        "apart": {
            "nodes": 4, "asked": 4, "placed": 3, "nodes_more": 1, "impossible": 0,
            "utilisation": half | {"gpu_milli": None},
        },
        "groups": {"": {"nodes": 4, "asked": 4, "placed": 3, "nodes_more": 1, "impossible": 0}},
    }  # fmt: skip
    lines = cli("pool", "--silos").stdout.splitlines()
    assert lines[1].split() == ["(no", "group)", "4", "4", "3", "1", "0"]
    assert lines[-1] == (
        "one pool: 4 of 4 instances placed; silos: 3, and 1 node more for the rest"
    )
    assert lines[-2].split() == ["silos", "50.0%", "50.0%", "50.0%", "-"]


def test_quotas_are_set_listed_and_deleted(center: "ContractCenter", cli: Cli) -> None:
    made = cli("quota", "set", "eu/hamburg", "--cores", "2", "--memory", "1.5GiB")
    assert made.exit_code == 0, made.output
    assert center.asked[0][3] == {"cpu_cores": 2.0, "memory_bytes": 1610612736}
    assert cli("quota", "list").stdout.splitlines()[1] == (
        "eu/hamburg  3 of 2  1.0 GiB of 1.5 GiB     -     -          -"
    )
    assert cli("quota", "delete", "eu/hamburg").exit_code == 0
    assert cli("quota", "list").stdout == "no quotas: farshore quota set --help\n"
    assert cli("quota", "set", "eu").exit_code == 2


@pytest.mark.parametrize(
    ("text", "amount"),
    [("512MiB", 2**29), ("1048576", 2**20), ("0", 0), ("2TiB", 2**41), ("7B", 7)],
)
def test_amounts_of_bytes(text: str, amount: int) -> None:
    assert amount_bytes("--memory", text) == amount


@pytest.mark.parametrize("text", ["", "4GB", "-1", "x", "1e999", "nanGiB", "4Gi"])
def test_amounts_that_are_none(text: str) -> None:
    with pytest.raises(BadUsageError, match="expected a number"):
        amount_bytes("--memory", text)


def test_a_node_is_drained_and_used_again(center: "ContractCenter", cli: Cli) -> None:
    said = cli("node", "drain", "pi-1", "--deadline", "10m", "-m", "fan")
    assert said.stdout == (
        f"pi-1 takes nothing new; 1 instance to move, by {SINCE} at the latest\n"
    )
    assert center.asked[0][:2] == ("POST", "/nodes/pi-1/drain")
    assert center.asked[0][3] == {"reason": "fan", "deadline_s": 600.0}
    assert cli("node", "undrain", "pi-1").stdout == "pi-1 takes work again\n"


@pytest.mark.processes
def test_a_drain_is_followed_until_nothing_is_left(
    center: "ContractCenter", environment: dict[str, str]
) -> None:
    center.drains["pi-1"] = drain_of("pi-1", item("web", "running"), item("report", "running"))
    process, timer = follow(center, environment, "node", "drain", "pi-1", "--wait")
    leave(center, "pi-1", item("report", "stopping", "its node is drained"))
    line = ""
    while "web/0 has left" not in line:
        line = process.stdout.readline()
        assert line
    leave(center, "pi-1")
    rest, _ = process.communicate(timeout=DEADLINE_S)
    timer.cancel()
    assert process.returncode == 0
    assert rest.splitlines()[-1] == "pi-1 is drained: no task is on it"


@pytest.mark.processes
def test_a_drain_that_somebody_takes_back_is_exit_code_1(
    center: "ContractCenter", environment: dict[str, str]
) -> None:
    center.drains["pi-1"] = drain_of("pi-1", item("web", "running"))
    process, timer = follow(center, environment, "--json", "node", "drain", "pi-1", "--wait")
    leave(center, "pi-1", item("web", "running"), drained=False)
    out, _ = process.communicate(timeout=DEADLINE_S)
    timer.cancel()
    assert process.returncode == 1
    assert json.loads(out)["drained"] is False


def test_a_drain_whose_deadline_has_passed_is_exit_code_1(
    center: "ContractCenter", cli: Cli
) -> None:
    said = cli("node", "drain", "pi-1", "--wait", "--deadline", "1s")
    assert said.exit_code == 1
    assert said.stdout.splitlines()[-1] == (
        "pi-1: the deadline has passed; still there: 1 instance"
    )


def test_a_drain_of_a_node_with_nothing_is_over_at_once(center: "ContractCenter", cli: Cli) -> None:
    center.drains["pi-1"] = drain_of("pi-1")
    said = cli("node", "drain", "pi-1", "--wait")
    assert (said.exit_code, said.stdout) == (0, "pi-1 is drained: no task is on it\n")


@pytest.mark.parametrize(
    ("left", "now", "more", "code"),
    [
        (0, 0, {}, 0),
        (0, 0, {"drained": False}, 0),
        (1, 10**15, {}, None),
        (1, 29_000, {"deadline": "1970-01-01T00:00:00.000Z"}, None),
        (1, 31_000, {"deadline": "1970-01-01T00:00:00.000Z"}, 1),
        (1, 0, {"drained": False}, 1),
    ],
)
def test_when_following_a_drain_is_over(
    left: int, now: int, more: dict[str, Any], code: int | None
) -> None:
    found = drain_of("pi-1", *[item("web", "running")] * left, **more)
    assert drain_watch.verdict(found, now) == code


def test_the_picture_of_a_drain_shows_what_is_left() -> None:
    items = [item(f"t{number}", "running") for number in range(9)]
    lines = drain_watch.picture(drain_of("pi-1", *items), 12, 90, 10)
    text = "\n".join(
        "".join(part if isinstance(part, str) else part.text for part in line) for line in lines
    )
    assert "pi-1" in text
    assert "3 of 12 instances have left" in text
    assert "… 4 more" in text


def test_a_drained_node_is_seen_to_be_one(center: "ContractCenter", cli: Cli) -> None:
    center.add_node("pi-1", drained=True)
    center.add_node("pi-2", drained=False)
    assert cli("nodes").stdout.splitlines()[-1] == "2 nodes: 2 online, 0 offline, 1 drained"
    assert "it takes no new tasks" in cli("node", "pi-1").stdout
    assert "drained" not in cli("node", "pi-2").stdout


def test_a_node_is_shown_by_its_name_alone(center: "ContractCenter", cli: Cli) -> None:
    center.add_node("pi-1")
    center.add_node("drain")
    assert cli("node", "pi-1").stdout == cli("node", "show", "pi-1").stdout
    assert json.loads(cli("node", "--json", "pi-1").stdout)["name"] == "pi-1"
    assert "drain" in cli("node", "show", "drain").stdout


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
