"""What exists stands in docs/simulator.md: commands, options, exit codes, programs, groups."""

import re
from pathlib import Path

import pytest
import typer
from farshore_sim.cli import INTERRUPTED, app
from farshore_sim.fleet import programs
from farshore_sim.fleet.places import ENVIRONMENTS, GROUPS

DOCS = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
SECTIONS = dict(re.findall(r"^## `farshore-sim (\w+)`\n(.*?)(?=^## |\Z)", DOCS, re.M | re.S))
OPTIONS = {
    name: {option for each in command.params for option in each.opts} - {"--help"}
    for name, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined] # a group
}


@pytest.mark.parametrize("name", ["run", "demo"])
def test_every_option_stands_in_the_docs_and_no_other(name: str) -> None:
    told = set(re.findall(r"--[a-z][a-z-]+", SECTIONS[name].split("\n**")[0]))
    assert OPTIONS[name] == told


def test_exit_codes_groups_and_labels() -> None:
    assert f"| {INTERRUPTED} |" in SECTIONS["demo"]
    for word in (*GROUPS, *(f"env={each}" for each in ENVIRONMENTS)):
        assert f"`{word}`" in SECTIONS["run"]


def test_every_simulated_program_stands_in_the_docs() -> None:
    source = Path(programs.__file__).read_text()
    exist = set(re.findall(r'case "(\w+)"', source))
    table = SECTIONS["run"].partition("| program |")[2].partition("\n\n")[0]
    told = {word for row in re.findall(r"^\| (`.*?) \|", table, re.M)
            for word in re.findall(r"`(\w+)", row)}  # fmt: skip
    assert exist == told
