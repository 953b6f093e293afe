"""The pages for who comes from Ansible or Salt: what stands there runs, and says what is there."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from farshore_center.selectors import parse
from system.programs import BIN

ROOT = Path(__file__).parents[2]
ANSIBLE = (ROOT / "docs" / "coming-from-ansible.md").read_text()
SALT = (ROOT / "docs" / "coming-from-salt.md").read_text()
PLUGIN = ROOT / "center" / "src" / "farshore_center" / "ansible" / "connection" / "farshore.py"

Stage = Any  # the fixture's class, see conftest.py


def block(after: str, kind: str) -> str:
    """The first block of this kind behind a text of the page."""
    found = re.search(rf"```{kind}\n(.*?)```", ANSIBLE.partition(after)[2], re.DOTALL)
    assert found
    return found[1]


@pytest.mark.processes
def test_the_first_steps_run_as_they_stand(stage: Stage) -> None:
    (stage.folder / "site.yml").write_text(block("`site.yml`:", "yaml"))
    (stage.folder / "target").mkdir()
    script = Path(stage.folder / "farshore-inventory")
    script.write_text(f'#!/bin/sh\nexec {BIN / "farshore"} inventory "$@"\n')
    script.chmod(0o755)
    lines = block("## A playbook, now", "sh").replace("-e target=/etc", "-e target=$PWD/target")
    lines = re.sub(r"export FARSHORE_URL=.*\n", "", lines)
    path = stage.folder / "steps.sh"
    path.write_text(
        f"set -e\nPATH={stage.folder}:{BIN}:$PATH\nunset ANSIBLE_CONNECTION_PLUGINS\n{lines}"
    )
    done = subprocess.run(
        ["/bin/sh", str(path)],
        cwd=stage.folder,
        env=stage.environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("pong") == 2
    text = (stage.folder / "target" / "app.conf").read_text()
    assert text.startswith("site = eu/hamburg\nenv = prod\narch = ")


@pytest.mark.processes
def test_the_file_of_the_inventory_plugin_works(stage: Stage) -> None:
    (stage.folder / "fleet.farshore.yml").write_text(block("--graph\n```", "yaml"))
    said = stage.ansible("ansible-inventory", "-i", "fleet.farshore.yml", "--graph")
    assert "@arch_" in said.text


def test_every_option_of_the_plugin_stands_on_the_page() -> None:
    text = PLUGIN.read_text()
    names = set(re.findall(r"- name: (farshore_\w+|FARSHORE_\w+|ANSIBLE_\w+|ansible_\w+)", text))
    rows = ANSIBLE.partition("## The connection")[2].partition("### How fast")[0]
    documented = set(re.findall(r"`(farshore_\w+|FARSHORE_\w+|ANSIBLE_\w+|ansible_\w+)`", rows))
    assert names <= documented
    assert {n for n in documented if n.lower().startswith("farshore")} <= names


def selectors() -> list[str]:
    rows = re.findall(
        r"^\| .+ \| `(.+)` \|$", SALT.partition("## Compound targets")[2], re.MULTILINE
    )
    used = re.findall(r"--selector '([^']+)'", ANSIBLE + SALT)
    plain = [row.replace("\\|", "|") for row in rows if "`" not in row]
    return [*plain, *(text for text in used if text != "…")]


@pytest.mark.parametrize("text", selectors())
def test_every_selector_on_the_pages_can_be_read(text: str) -> None:
    parse(text)


def test_there_are_selectors_to_read() -> None:
    assert len(selectors()) >= 12


def farshore_lines() -> list[str]:
    """The lines of the pages' examples that are ours, without the file that they write before."""
    blocks = re.findall(r"```sh\n(.*?)```", ANSIBLE + SALT, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("farshore ")]


@pytest.mark.processes
def test_farshores_side_of_each_job_runs(stage: Stage) -> None:
    """What would install packages is previewed alone: ``config set`` takes the same layer."""
    for page in (ANSIBLE, SALT):
        layers = [b for b in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "labels.ntp" in b]
        assert len(layers) == 1
        (stage.folder / "eu.yml").write_text(layers[0])
    lines = farshore_lines()
    assert len(lines) >= 10
    known = stage.http.get("/api/v1/commands").json()["items"]
    assert known, "the first steps have run before"
    for line in lines:
        if "config set" in line:
            assert line.replace("config set", "config preview").split(" -m ")[0] in {
                each.removesuffix(" eu.yml") for each in lines
            }
            continue
        line = line.replace("01kx2v5q3n", known[0]["id"])
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=stage.folder,
            env={**stage.environment(), "PATH": f"{BIN}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        # systemctl restart app has no app here, and so its node says that it failed.
        expected = 1 if "systemctl restart app" in line else 0
        assert done.returncode == expected, f"{line}: {done.stdout}{done.stderr}"
