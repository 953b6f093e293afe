"""What a person says of a new job, by options and by a file, as the body that the API takes."""

from typing import Any

import pytest
from farshore_center.cli.errors import BadUsageError
from farshore_center.cli.job_input import budget, default_name, gate, job_body, size, window
from farshore_center.cli.job_options import JobOptions
from farshore_center.cli.job_view import gate_text
from farshore_center.cli.job_waves import BAD, OVER
from farshore_center.jobs import lifecycle
from farshore_center.jobs.bodies import JobBody
from hypothesis import given
from hypothesis import strategies as st

NOW_MS = 1772359200_000


def body(file: Any = None, patch: Any = None, /, **options: Any) -> Any:
    argv = options.pop("argv", None)
    made = job_body(JobOptions(**options), file, patch, argv, author="ada", now_ms=NOW_MS)
    JobBody.model_validate(made)
    return made


def test_every_option_finds_its_field_and_the_center_takes_it() -> None:
    made = body(
        words=["group:eu/**", "exec"], argv=["systemctl", "restart", "app"], arg=["cwd=/tmp"],
        name="restart", timeout="1m", undo_argv="systemctl start 'old app'",
        waves="1, 10%", factor=2, at_once=50, at_once_per_group=5, success=95, success_minimum=20,
        soak="10m", gate=["state=online", "90% has(label.app)", "cpu.percent <= 1.2x + 5"],
        gate_wait="5m", retries=2, node_deadline="90s", deadline="1d", budget=["eu/hamburg=2", "10%"],
        approval=True, window=["0 2 * * * for 2h"], timezone="Europe/Berlin", start_at="2h",
        following=True, allow_empty=True, message="why",
    )  # fmt: skip
    assert made == {
        "name": "restart", "selector": "group:eu/**", "following": True, "allow_empty": True,
        "author": "ada", "message": "why",
        "command": {
            "verb": "exec", "timeout_s": 60.0,
            "args": {"cwd": "/tmp", "argv": ["systemctl", "restart", "app"]},  # noqa: S108 # text
            "undo": {"verb": "exec", "args": {"argv": ["systemctl", "start", "old app"]}},
        },
        "start": {"at": "2026-03-01T12:00:00.000Z"},
        "rules": {
            "waves": {"sizes": [1, "10%"], "factor": 2}, "at_once": 50, "at_once_per_group": 5,
            "success": {"percent": 95, "minimum": 20}, "soak_s": 600.0, "gate_wait_s": 300.0,
            "gates": [
                {"selector": "state=online"}, {"selector": "has(label.app)", "percent": 90.0},
                {"series": "cpu.percent", "op": "<=", "factor": 1.2, "plus": 5.0},
            ],
            "retries": 2, "node_deadline_s": 90.0, "deadline_s": 86400.0, "approval": True,
            "budgets": [{"group": "eu/hamburg", "most": 2}, {"group": "", "most": "10%"}],
            "windows": [{"cron": "0 2 * * *", "duration_s": 7200.0}], "timezone": "Europe/Berlin",
        },
    }  # fmt: skip


def test_what_is_not_said_is_left_to_the_center() -> None:
    assert body(words=["pi-1", "ping"]) == {
        "name": "ping", "selector": "node:pi-1", "author": "ada",
        "command": {"verb": "ping", "args": {}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "selector"),
    [
        ({"words": ["pi-[1-2]", "pi-7", "ping"]}, "node:pi-1 or node:pi-2 or node:pi-7"),
        ({"words": ["ping"], "every": True}, "all"),
        ({"words": ["ping"], "selector": "label.env=prod"}, "label.env=prod"),
    ],
)
def test_nodes_are_named_as_for_run(options: dict[str, Any], selector: str) -> None:
    assert body(**options)["selector"] == selector


def test_a_cron_rule_has_the_time_zone() -> None:
    made = body(words=["ping"], every=True, cron="0 3 * * 1", timezone="Europe/Berlin")
    assert made["start"] == {"cron": "0 3 * * 1", "timezone": "Europe/Berlin"}


FILE = {
    "name": "from the file", "selector": "all", "author": "grace",
    "command": {"verb": "exec", "args": {"argv": ["true"]}},
    "rules": {"waves": {"sizes": [1], "factor": 2}, "soak_s": 60},
}  # fmt: skip


def test_options_are_laid_upon_the_file_field_by_field() -> None:
    made = body(FILE, file="job.yaml", waves="2,50%", approval=True, selector="group:eu")
    assert made == FILE | {
        "selector": "group:eu",
        "rules": {"waves": {"sizes": [2, "50%"], "factor": 2}, "soak_s": 60, "approval": True},
    }
    assert body(FILE, file="job.yaml", words=["group:eu"])["selector"] == "group:eu"


def test_a_patch_is_done_in_place_of_a_verb() -> None:
    patch = {"agent": {"log_level": "DEBUG"}}
    made = body(None, patch, config="p.yaml", words=["group:eu/**"], priority=7)
    assert made["config"] == {"patch": patch, "priority": 7}
    assert made["name"] == "configuration of agent"
    assert "command" not in made


@pytest.mark.parametrize(
    ("said", "options"),
    [
        ("what is to be done", {}),
        ("what is to be done", {"words": ["group:eu/**"]}),
        ("which nodes", {"words": ["ping"]}),
        ("said twice", {"words": ["pi-1", "ping"], "every": True}),
        ("write one selector", {"words": ["pi-1", "group:eu", "ping"]}),
        ("stands in the file already", {"file": "f", "words": ["pi-1", "ping"]}),
        ("which verb", {"file": "f", "arg": ["a=1"]}),
        ("--undo-arg without", {"words": ["pi-1", "ping"], "undo_arg": ["a=1"]}),
        ("--undo-argv", {"words": ["pi-1", "exec"], "undo_argv": "'open"}),
        ("--priority", {"words": ["pi-1", "ping"], "priority": 3}),
        ("no --arg", {"config": "p", "arg": ["a=1"], "every": True}),
        ("--soak 'soon'", {"words": ["pi-1", "ping"], "soak": "soon"}),
        ("--waves 'x'", {"words": ["pi-1", "ping"], "waves": "1,x"}),
        ("--budget 'many'", {"words": ["pi-1", "ping"], "budget": ["eu=many"]}),
        ("CRON for DURATION", {"words": ["pi-1", "ping"], "window": ["0 2 * * *"]}),
        ("--start-at 'noon'", {"words": ["pi-1", "ping"], "start_at": "noon"}),
        ("--start-at", {"words": ["pi-1", "ping"], "start_at": "2026-03-01T10:00:00"}),
        ("expected for example pi-", {"words": ["pi-[1", "ping"]}),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_center_is_asked(
    said: str, options: dict[str, Any]
) -> None:
    file = FILE if "file" in options else None
    patch: Any = {} if "config" in options else None
    with pytest.raises(BadUsageError, match=said.replace("(", r"\(")):
        body(file, patch, **options)


def test_a_file_that_holds_no_object_is_refused() -> None:
    with pytest.raises(BadUsageError, match="expected a job"):
        body(["all"], file="job.yaml")
    with pytest.raises(BadUsageError, match="rules in the file"):
        body({**FILE, "rules": 3}, file="job.yaml", approval=True)


@given(
    st.sampled_from(["<=", ">="]), st.integers(0, 50), st.integers(-50, 50),
    st.sampled_from(["cpu.percent", "fs.percent{mount=/}"]),
)  # fmt: skip
def test_a_metric_gate_is_read_as_it_is_told(op: str, tenths: int, plus: int, series: str) -> None:
    made = {"series": series, "op": op, "factor": tenths / 10, "plus": float(plus)}
    assert gate(gate_text(made)) == made


@pytest.mark.parametrize("text", ["state=online", "fact.mem.total_bytes<=4e9", "not label.x=1x"])
def test_what_compares_with_no_factor_is_a_selector(text: str) -> None:
    assert gate(text) == {"selector": text}
    assert gate(f"12.5%  {text}") == {"selector": text, "percent": 12.5}


def test_small_forms() -> None:
    assert size("--waves", " 10 ") == 10
    assert budget("eu/hamburg=10%") == {"group": "eu/hamburg", "most": "10%"}
    assert window(" 0 2 * * 1-5  for 90m") == {"cron": "0 2 * * 1-5", "duration_s": 5400.0}
    assert default_name({"command": {"verb": "exec", "args": {"argv": ["x" * 300]}}})[-1] == "…"


def test_states_are_those_of_the_engine() -> None:
    """Written out in the command line, which must not load the center to start."""
    assert set(OVER) == lifecycle.OVER
    assert set(BAD) == lifecycle.BAD | {"undo_failed"}
