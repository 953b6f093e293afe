"""Where a setting comes from, what is refused and in which words, and that the docs know it."""

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from farshore_edge.cli import main
from farshore_edge.errors import SettingsError
from farshore_edge.settings import DOCS, ENV_PREFIX, Settings, load

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
SAMPLES: dict[str, tuple[Any, Any, Any]] = {
    # setting: in the file, in the environment, as a flag
    "node": ("n1", "n2", "n3"),
    "center": ("mqtt://a", "mqtt://b:1", "mqtt://[::1]:2"),
    "data": ("a", "b", "c"),
    "group": ("eu", "eu/hamburg", "us"),
    "labels": ({"a": "1"}, "a=2,b=3", ["a=4"]),
    "dev": (False, "yes", True),
    "config_roots": (["/a"], "/b,/c", ["/d"]),
    "read_roots": (["/a"], "/b,/c", ["/d"]),
    "write_roots": (["/a"], "/b,/c", ["/d"]),
    "policy": ("/a.toml", "/b.toml", "/c.toml"),
    "config_programs": (False, "yes", True),
    "probe_targets": (["a"], "*.b, 10.0.0.0/8", ["*"]),
    "reboot_command": ("reboot", "reboot -f", "systemctl reboot"),
    "sample_interval_s": (1, "2.5", "3"),
    "batch_s": (1, "2.5", "3"),
    "heartbeat_s": (1.5, "2.5", "3"),
    "keepalive_s": (5, "6", "7"),
    "backoff_first_s": (1, "2.5", "3"),
    "backoff_max_s": (1, "2.5", "3"),
    "spill_after_s": (0, "2.5", "3"),
    "backlog_share": (0.2, "0.4", "0.5"),
    "outbox_max_bytes": (2**20, "2000000", "3000000"),
    "metrics_max_records": (10, "20", "30"),
    "metrics_max_age_s": (60, "70.5", "80"),
    "results_max_bytes": (2**16, "70000", "80000"),
    "results_max_records": (10, "20", "30"),
    "results_max_age_s": (60, "70.5", "80"),
    "events_max_bytes": (2**16, "70000", "80000"),
    "events_max_records": (10, "20", "30"),
    "events_max_age_s": (60, "70.5", "80"),
    "reports_max_bytes": (2**16, "70000", "80000"),
    "reports_max_records": (10, "20", "30"),
    "reports_max_age_s": (60, "70.5", "80"),
    "commands_at_once": (1, "2", "3"),
    "output_max_bytes": (0, "2", "3"),
    "exec_cpu_s": (0, "2", "3"),
    "exec_memory_bytes": (0, "2", "3"),
    "exec_processes": (0, "2", "3"),
    "exec_open_files": (0, "2", "3"),
    "exec_file_bytes": (0, "2", "3"),
    "exec_nice": (0, "2", "3"),
    "log_lines_per_s": (1, "2", "3"),
    "log_bytes_per_s": (1024, "2000", "3000"),
    "link_every_s": (60.0, "120", "180"),
    "link_bytes": (8192, "16384", "32768"),
    "devices": ({"a": "/dev/a"}, "a=/dev/b,c-1=/dev/c", ["a=/dev/d"]),
    "dask_scheduler": ("tcp://a:1", "tcp://b:2", "tls://c:3"),
    "stop_grace_s": (0, "2.5", "3"),
    "log_level": ("debug", "warning", "ERROR"),
}


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'{k} = "{v}"' for k, v in value.items()) + "}"
    return json.dumps(value)


def test_every_setting_has_a_sample_here() -> None:
    assert set(SAMPLES) == {f.name for f in fields(Settings)}


@pytest.mark.parametrize("name", SAMPLES)
def test_flags_win_over_environment_over_file_over_defaults(name: str, tmp_path: Path) -> None:
    in_file, in_environment, flag = SAMPLES[name]
    file = tmp_path / "agent.toml"
    file.write_text(f"{name} = {_toml(in_file)}\n")
    variable = ENV_PREFIX + name.upper()
    node = {} if name == "node" else {"node": "x"}
    rounds = [
        (load({**node}, {}, file), f"file {file}"),
        (load({**node}, {variable: in_environment}, file), f"environment {variable}"),
        (load({**node, name: flag}, {variable: in_environment}, file), "flag"),
    ]
    values = [getattr(loaded.settings, name) for loaded, _ in rounds]
    assert [loaded.origin[name] for loaded, _ in rounds] == [origin for _, origin in rounds]
    assert values[0] != values[1] or name in {"dev", "config_programs"}
    assert values[1] != values[2] or name in {"dev", "config_programs"}
    if name != "node":
        assert load({"node": "x"}, {}).origin[name] == "default"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("node", "Not A Name", "a-z"),
        ("group", "all/of/it", "stands for every"),
        ("group", "eu//x", "segment"),
        ("center", "https://x", "mqtt://HOST:PORT"),
        ("center", "mqtt://", "mqtt://HOST:PORT"),
        ("center", "mqtt://x:99999", "mqtt://HOST:PORT"),
        ("center", "mqtt://x:0", "1 to 65535"),
        ("center", "mqtt://x:abc", "mqtt://HOST:PORT"),
        ("center", "mqtt://me:secret@x", "mqtt://HOST:PORT"),
        ("center", "mqtt://x/path", "mqtt://HOST:PORT"),
        ("data", "", "path of a folder"),
        ("labels", "a", "K=V"),
        ("labels", "A=1", "a-z"),
        ("labels", 5, "K=V"),
        ("labels", {"a": 5}, "a text"),
        ("labels", "a=" + "x" * 257, "256"),
        ("devices", "a", "NAME=PATH"),
        ("devices", "A=/dev/a", "a-z"),
        ("devices", "a=dev/a", "an absolute path"),
        ("devices", {"a": 5}, "a text"),
        ("devices", "a-b=/dev/a,a_b=/dev/b", "both are FARSHORE_DEVICE_A_B"),
        ("dev", "perhaps", "true or false"),
        ("config_programs", "perhaps", "true or false"),
        ("config_roots", "etc", "absolute path"),
        ("config_roots", 5, "absolute paths"),
        ("probe_targets", "10.0.0.0/33", "a network like 10.0.0.0/8"),
        ("probe_targets", "http://x", "a name"),
        ("probe_targets", 5, "names and networks"),
        ("reboot_command", "reboot 'now", "No closing quotation"),
        ("reboot_command", 5, "a program"),
        ("sample_interval_s", "soon", "a number from 0.1 to 3600"),
        ("sample_interval_s", "nan", "a number from 0.1 to 3600"),
        ("sample_interval_s", "inf", "a number from 0.1 to 3600"),
        ("sample_interval_s", 0, "a number from 0.1 to 3600"),
        ("keepalive_s", 2.5, "a whole number from 2 to 3600"),
        ("keepalive_s", "2.5", "a whole number"),
        ("keepalive_s", float("inf"), "a whole number"),
        ("keepalive_s", True, "a whole number"),
        ("commands_at_once", [3], "a whole number"),
        ("outbox_max_bytes", "1", "a whole number from 1.04858e+06"),
        ("log_level", "loud", "DEBUG, INFO, WARNING or ERROR"),
    ],
)
def test_what_cant_be_used_is_named_with_key_value_origin_and_what_was_expected(
    name: str, value: Any, expected: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load({"node": "x", name: value}, {})
    message = str(caught.value)
    assert message.startswith(f"{name} = {value!r} (from flag): ")
    assert expected in message


def test_the_origin_of_a_wrong_value_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"from environment FARSHORE_BATCH_S"):
        load({"node": "x"}, {"FARSHORE_BATCH_S": "x"})
    file = tmp_path / "agent.toml"
    file.write_text("colour = 3\n")
    with pytest.raises(SettingsError, match=r"colour = 3 \(from file .*no such setting; known: "):
        load({"node": "x"}, {}, file)


@pytest.mark.parametrize(
    ("content", "words"), [(b"a = [", "not TOML"), (b"\xff", "not TOML"), (None, "No such file")]
)
def test_a_file_that_cant_be_read_is_named(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "agent.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=words) as caught:
        load({"node": "x"}, {}, file)
    assert str(file) in str(caught.value)


def test_a_node_needs_a_name() -> None:
    with pytest.raises(SettingsError, match="--node NAME or FARSHORE_NODE"):
        load({}, {})


# The command line


def test_settings_are_printed_with_their_origins(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARSHORE_BATCH_S", "20")
    assert main(["settings", "--node", "n1", "--label", "a=1", "--label", "b=2", "--dev"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(lines) == {f.name for f in fields(Settings)}
    assert re.fullmatch(r"batch_s +20\.0 +environment FARSHORE_BATCH_S", lines["batch_s"])
    assert re.fullmatch(r"node +n1 +flag", lines["node"])
    assert re.fullmatch(r"heartbeat_s +30\.0 +default", lines["heartbeat_s"])


def test_settings_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "--json", "--node", "n1", "--label", "a=1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["labels"] == {"value": {"a": "1"}, "origin": "flag"}
    assert set(told) == {f.name for f in fields(Settings)}


def test_a_wrong_setting_ends_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "--node", "n1", "--batch-s", "x"]) == 2
    assert capsys.readouterr().err.startswith("farshore-agent: batch_s = 'x' (from flag)")


def test_a_flag_is_written_in_full() -> None:
    with pytest.raises(SystemExit):
        main(["settings", "--nod", "n1"])


# The docs


def _rows() -> dict[str, list[str]]:
    cells = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in PAGE.read_text("utf-8").splitlines()
        if line.startswith("| `")
    ]
    return {row[0].strip("`"): [cell.strip("`") for cell in row[1:]] for row in cells}


def test_the_page_lists_every_setting_and_nothing_else() -> None:
    assert list(_rows()) == [f.name for f in fields(Settings)]
    assert set(DOCS) == {f.name for f in fields(Settings)}


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda f: f.name)
def test_the_page_says_what_is_true(setting: Any) -> None:
    flag, variable, default, meaning = _rows()[setting.name]
    each = {
        "labels": "--label",
        "devices": "--device",
        "config_roots": "--config-root",
        "read_roots": "--read-root",
        "write_roots": "--write-root",
        "probe_targets": "--probe-target",
    }
    assert flag == each.get(setting.name, "--" + setting.name.replace("_", "-"))
    assert variable == ENV_PREFIX + setting.name.upper()
    assert meaning == DOCS[setting.name]
    if setting.default is MISSING:
        assert default == ("–" if setting.name in ("labels", "devices") else "required")
    elif isinstance(setting.default, bool):
        assert default == str(setting.default).lower()
    elif setting.default == ():
        assert default == "–"
    else:
        assert default == (str(setting.default) or "–")
