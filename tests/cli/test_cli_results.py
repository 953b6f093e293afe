"""What a verb gave, below its line: rows, trees and texts; and what was left out of an output."""

from collections.abc import Callable
from typing import Any

from farshore_center.cli.gather import body, gathered
from farshore_center.cli.progress import first_line
from farshore_center.cli.results import details
from farshore_center.cli.tables import plain
from typer.testing import Result

Cli = Callable[..., Result]

PROCESSES = {
    "count": 87,
    "processes": [
        {
            "pid": 7,
            "user": "root",
            "command": "farshore-agent run --node pi-17 --dev",
            "threads": 3,
        },
        {"pid": 12_345, "user": "shop", "command": "till\x1b[2J", "threads": 1},
    ],
}


def target(result: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"node": "pi-1", "state": "succeeded", "output": [], "result": result, **more}


def shown(center: Any, cli: Cli, *targets: dict[str, Any]) -> list[str]:
    center.commands["01kx2"] = {
        "id": "01kx2", "verb": "look", "args": {}, "created_at": "2026-03-01T10:00:00Z",
        "expires_at": "2026-03-01T10:01:00Z", "done": True, "summary": {"succeeded": len(targets)},
        "targets": [{"updated_at": "2026-03-01T10:00:01Z", "error": None, **t} for t in targets],
    }  # fmt: skip
    done = cli("command", "01kx2")
    assert done.exit_code == 0, done.stderr
    return done.stdout.splitlines()


def test_rows_are_a_table_with_the_long_column_last(center: Any, cli: Cli) -> None:
    lines = shown(center, cli, target(PROCESSES))
    assert "count=87 processes=…" in lines[2]
    assert lines[3:7] == [
        "--- pi-1 processes",
        "  PID  USER  THREADS  COMMAND",
        "    7  root        3  farshore-agent run --node pi-17 --dev",
        "12345  shop        1  till\\x1b[2J",
    ]


def test_a_file_is_read_as_it_is(center: Any, cli: Cli) -> None:
    lines = shown(center, cli, target({"path": "/etc/motd", "data": "one\n\ttwo\x07\n"}))
    assert "path=/etc/motd data=…" in lines[2]
    assert lines[3:6] == ["--- pi-1 data", "one", "\ttwo\\x07"]


def test_named_rows_and_trees() -> None:
    found = details({
        "streams": {"events": {"records": 0, "head": 7}, "metrics": {"records": 3}},
        "os": {"id": "debian", "version": {"major": 12}},
        "cpu": {"flags": ["avx", "aes"]},
        "up_s": 66.5, "gpus": [], "locks": {},
    })  # fmt: skip
    assert [(name, plain(sheet)) for name, sheet in found if not isinstance(sheet, str)] == [
        ("result", "WHAT              VALUE\n"
                   "os.id             debian\n"
                   "os.version.major  12\n"
                   'cpu.flags         ["avx","aes"]'),
        ("streams", "NAME     RECORDS  HEAD\n"
                    "events         0     7\n"
                    "metrics        3     -"),
    ]  # fmt: skip


def test_a_result_that_sums_itself_up_needs_no_more() -> None:
    assert details({"summary": "3 of 3 answered", "times_ms": [{"ms": 1}]}) == []
    assert details(None) == []


def test_many_targets_keep_all_in_their_line(center: Any, cli: Cli) -> None:
    lines = shown(center, cli, *(target(PROCESSES, node=f"pi-{n}") for n in range(1, 10)))
    assert all('processes=[{"pid":7,' in line for line in lines[2:11])
    assert not [line for line in lines if line.startswith("---")]


def test_a_result_of_nothing_but_nulls_is_said() -> None:
    assert first_line(target({"override": None})) == "override=-"


def test_an_error_is_not_said_twice() -> None:
    killed = target({"exit_code": None, "signal": "SIGKILL"}, state="failed")
    assert first_line({**killed, "error": {"message": "ended by signal SIGKILL"}}) == (
        "ended by signal SIGKILL"
    )


def test_output_that_was_left_out_is_never_passed_over(center: Any, cli: Cli) -> None:
    flood = target(
        {"exit_code": 0, "output_cut_bytes": 999_737_856},
        output=[{"stream": "stdout", "offset": 0, "text": "y\n"}],
    )
    said = "999,737,856 bytes of its output were left out"
    lines = shown(center, cli, flood)
    assert lines[3:6] == ["--- pi-1 stdout", "y", f"--- pi-1: {said}"]
    (answer,) = gathered([flood])
    assert body(answer) == f"{said}\ny"
