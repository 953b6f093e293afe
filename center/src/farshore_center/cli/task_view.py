"""A task as a person looks at it: its state, its instances, where each is and why. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from farshore_center.cli.cells import NOTHING, age, clean, count, counted, quantity, scalar, span
from farshore_center.cli.progress import summary_text
from farshore_center.cli.tables import Cell, Sheet, left, right, state, whole

Task = Mapping[str, Any]
Instance = Mapping[str, Any]

OVER = ("done", "failed")
"""States in which nothing more happens by itself."""


def running_of(task: Task) -> str:
    """``2/3``: how many instances run, of how many there should be."""
    return f"{task['summary'].get('running', 0)}/{task['spec'].get('count', 1)}"


def tasks_sheet(items: Sequence[Task], now_ms: int) -> Sheet:
    sheet = Sheet(
        columns=[
            *left("name", "kind"), *whole("state"), *right("running", "priority"), *left("group"),
            *right("rev", "changed"), *left("instances", "next"),
        ]
    )  # fmt: skip
    for item in items:
        spec = item["spec"]
        sheet.add(
            clean(item["name"]),
            clean(spec["kind"]),
            state(clean(item["state"])),
            running_of(item),
            str(spec.get("priority", 50)),
            clean(spec.get("group") or NOTHING),
            str(item["revision"]),
            age(item.get("updated"), now_ms),
            summary_text(item["summary"]),
            clean(item.get("next") or NOTHING),
        )
    return sheet


def task_sheet(task: Task, now_ms: int) -> Sheet:
    """What is known of a task but for its instances, one line a thing."""
    spec = task["spec"]
    sheet = Sheet(columns=[*left("what"), *left("value")])
    sheet.add("name", clean(task["name"]))
    sheet.add("state", state(clean(task["state"])))
    sheet.add("is", clean(f"{spec['kind']}, driver {spec['driver']}, {counted_instances(spec)}"))
    sheet.add("runs", scalar(spec.get("run") or {}))
    sheet.add("requests", requests_text(spec.get("requests") or {}))
    sheet.add("where", clean(f"{spec.get('where', 'auto')}, {spec.get('constraint', 'all')}"))
    sheet.add("disconnected", disconnect_text(spec.get("disconnect") or {}))
    if spec.get("group"):
        sheet.add("group", clean(spec["group"]))
    if spec.get("cron"):
        sheet.add("cron", clean(f"{spec['cron']} UTC; next {task.get('next') or NOTHING}"))
    if spec.get("deadline_s"):
        sheet.add("deadline", span(spec["deadline_s"]))
    sheet.add("priority", str(spec.get("priority", 50)))
    sheet.add("revision", f"{task['revision']}, {age(task.get('updated'), now_ms)} ago")
    if behind := task.get("behind"):
        sheet.add("behind", f"{counted(behind, 'instance')} still as before the last change")
    return sheet


def counted_instances(spec: Mapping[str, Any]) -> str:
    return counted(spec.get("count", 1), "instance")


def requests_text(requests: Mapping[str, Any]) -> str:
    """``0.5 cores, 256 MiB, 0.333 GPU (T4, A10), device cam0``."""
    gpu = requests.get("gpu") or {}
    gpus = gpu.get("count", 0) + gpu.get("milli", 0) / 1000
    models = f" ({', '.join(gpu['models'])})" if gpu.get("models") else ""
    disk = requests.get("disk_bytes", 0)
    said = [
        f"{requests.get('cpu_cores', 0.1):g} cores",
        quantity(requests.get("memory_bytes", 64 * 1024 * 1024), "B"),
        *([f"{quantity(disk, 'B')} disk"] if disk else ()),
        *([f"{gpus:g} GPU{models}"] if gpus else ()),
        *(f"device {name}" for name in requests.get("devices") or ()),
    ]
    return clean(", ".join(said))


def disconnect_text(contract: Mapping[str, Any]) -> str:
    """The contract in a sentence."""
    after = span(contract.get("lost_after_s", 30.0))
    if contract.get("on_disconnect", "keep") == "stop":
        then = "then elsewhere" if contract.get("replace", True) else "and not elsewhere"
        return f"ended at the node within {after}, {then}"
    if not contract.get("replace", True):
        return f"goes on; lost after {after}, and not replaced"
    back = "original" if contract.get("on_reconnect") == "keep_original" else "replacement"
    return f"goes on; after {after} also elsewhere; then the {back} stays"


def instances_sheet(items: Sequence[Instance], now_ms: int) -> Sheet:
    sheet = Sheet(
        columns=[
            *right("no"), *whole("state"), *left("node"), *right("since"), *left("health"),
            *right("restarts", "attempt"), *left("cpus", "gpus", "why"),
        ]
    )  # fmt: skip
    for item in items:
        sheet.add(
            str(item["instance"]),
            state(clean(item["state"])),
            clean(item.get("node") or NOTHING),
            age(item.get("since"), now_ms),
            _health(item.get("healthy")),
            count(item.get("restarts")),
            count(item.get("attempt")),
            _numbers(item.get("cpus")),
            _numbers(item.get("gpus")),
            why(item),
        )
    return sheet


def why(item: Instance) -> str:
    """Why it waits, how it ended, or what it gave."""
    exit_code = item.get("exit_code")
    said = [
        item.get("pending_reason") or item.get("reason"),
        None if exit_code in (None, 0) or item.get("reason") else f"exit code {exit_code}",
        None if item.get("result") is None else scalar(item["result"]),
    ]
    return clean("; ".join(str(part) for part in said if part)) or NOTHING


def _health(healthy: bool | None) -> Cell:
    if healthy is None:
        return Cell(NOTHING)
    return Cell("good", "green") if healthy else Cell("bad", "red")


def _numbers(numbers: Sequence[int] | None) -> str:
    return ",".join(map(str, numbers or ())) or NOTHING


def history_sheet(items: Sequence[Mapping[str, Any]]) -> Sheet:
    sheet = Sheet(columns=[*whole("at"), *left("of"), *whole("state"), *left("node", "by", "why")])
    for item in items:
        of = item.get("instance")
        sheet.add(
            clean(item["at"]),
            "the task" if of is None else f"instance {of}",
            state(clean(item["state"])),
            clean(item.get("node") or NOTHING),
            clean(item.get("by") or NOTHING),
            clean(item.get("reason") or NOTHING),
        )
    return sheet
