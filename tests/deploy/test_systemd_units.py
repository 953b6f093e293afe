"""The units start what exists, with options and settings that exist, and systemd understands them."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest
from farshore_edge.settings import ENV_PREFIX, Settings, load

DEPLOY = Path(__file__).parents[2] / "deploy"
SYSTEMD = DEPLOY / "systemd"
BIN = Path(sys.executable).parent
NAMES = ("farshore-agent", "farshore-center")
DROP_INS = re.findall(r"```ini\n(.*?)```", (DEPLOY / "README.md").read_text(), re.DOTALL)
"""For commands that administer the machine, and for tasks."""

Unit = Mapping[str, Mapping[str, list[str]]]


def read_unit(name: str) -> Unit:
    sections: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in (SYSTEMD / f"{name}.service").read_text().splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, separator, value = line.partition("=")
            assert separator, line
            section.setdefault(key, []).append(value)
    return sections


def read_environment(name: str, *, commented: bool) -> dict[str, str]:
    """What an example says; ``commented``: what it could say, too."""
    mark = "#?" if commented else ""
    text = (SYSTEMD / f"{name}.env.example").read_text()
    return dict(re.findall(rf"^{mark}([A-Z_]+)=(.*)$", text, re.MULTILINE))


def options_of(*command: str) -> set[str]:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:], "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(re.findall(r"--[a-z-]+", done.stdout))


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_starts_a_program_with_options_that_exist(name: str) -> None:
    (line,) = read_unit(name)["Service"]["ExecStart"]
    short = name.removeprefix("farshore-")
    variables = read_environment(short, commented=False)
    program, *arguments = shlex.split(re.sub(r"\$(\w+)", lambda m: variables[m[1]], line))
    assert program == f"/opt/farshore/bin/{name}"
    assert arguments[0] == "run"
    flags = {each for each in arguments if each.startswith("--")}
    assert flags <= options_of(name, "run")


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_keeps_its_promises(name: str) -> None:
    service = {key: values[-1] for key, values in read_unit(name)["Service"].items()}
    short = name.removeprefix("farshore-")
    assert service["EnvironmentFile"] == f"/etc/farshore/{short}.env"
    assert service["StateDirectory"] == name
    assert service["Environment"] == f"FARSHORE_DATA=/var/lib/{name}"
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == "2"
    assert read_unit(name)["Unit"]["StartLimitIntervalSec"] == ["0"]
    # The center ends its own children in order, and systemd kills what is left; an agent's tasks
    # outlive it.
    assert service["KillMode"] == ("process" if short == "agent" else "mixed")
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"


def test_the_agent_may_see_and_do_what_it_is_for() -> None:
    service = read_unit("farshore-agent")["Service"]
    blinding = {"PrivateDevices", "PrivateTmp", "ProtectProc", "ProcSubset", "PrivateNetwork",
                "ProtectClock", "SystemCallFilter", "MemoryDenyWriteExecute", "PrivateUsers",
                "RestrictNamespaces"}  # fmt: skip
    assert not blinding & service.keys()
    stop_s = next(f.default for f in fields(Settings) if f.name == "stop_grace_s")
    assert isinstance(stop_s, float)
    assert int(service["TimeoutStopSec"][0]) > stop_s + 20


def test_the_agents_example_names_settings_that_exist_and_are_valid() -> None:
    known = {ENV_PREFIX + each.name.upper() for each in fields(Settings)}
    possible = read_environment("agent", commented=True)
    assert possible.keys() <= known
    load({}, read_environment("agent", commented=False))
    settings = load({}, possible).settings
    assert settings.node == "pi-17"
    assert settings.labels == {"env": "prod", "site": "hamburg"}
    # What it shows as a possibility is the default, but for what a person must choose.
    chosen = {"node", "group", "labels", "dev"}
    defaults = load({"node": "pi-17"}, {}).settings
    for each in fields(Settings):
        if each.name not in chosen:
            assert getattr(settings, each.name) == getattr(defaults, each.name), each.name


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize(
    ("name", "dropped_in"),
    [*((name, "") for name in NAMES), *(("farshore-agent", text) for text in DROP_INS)],
)
def test_systemd_understands_the_unit(name: str, dropped_in: str, tmp_path: Path) -> None:
    text = (SYSTEMD / f"{name}.service").read_text() + dropped_in
    text = text.replace("/opt/farshore/bin/", f"{BIN}/")
    text = re.sub(r"^Documentation=.*\n", "", text, flags=re.MULTILINE)
    copy = tmp_path / f"{name}.service"
    copy.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    newer = {"RestartSteps", "RestartMaxDelaySec"}  # the units say so
    complaints = [
        line
        for line in done.stderr.splitlines()
        if copy.name in line and not any(f"'{key}'" in line for key in newer)
    ]
    assert complaints == []
    assert done.returncode == 0, done.stderr


def test_tasks_can_be_confined_where_the_drop_in_for_them_is() -> None:
    """What the unit itself takes away, and tasks with limits, users and containers need."""
    assert len(DROP_INS) == 2
    said = dict(re.findall(r"^(\w+)=(.*)$", DROP_INS[1], re.MULTILINE))
    unit = {key: values[-1] for key, values in read_unit("farshore-agent")["Service"].items()}
    assert (unit["ProtectControlGroups"], said["ProtectControlGroups"]) == ("yes", "no")
    assert (unit["CapabilityBoundingSet"], said["CapabilityBoundingSet"]) == ("", "~")
    assert (unit["StateDirectoryMode"], said["StateDirectoryMode"]) == ("0700", "0711")
    assert said["User"] == "root"


def test_the_readme_names_files_that_exist() -> None:
    text = (DEPLOY / "README.md").read_text()
    named = set(re.findall(r"deploy/[\w./-]*\w", text))
    assert {f"deploy/systemd/{name}.service" for name in NAMES[:1]} <= named
    for path in named:
        assert (DEPLOY.parent / path).exists(), path
    for example in ("agent.env.example", "center.env.example"):
        assert example in text
        assert (SYSTEMD / example).exists()
