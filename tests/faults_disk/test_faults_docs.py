"""The page tells every kind of damage, every flag and every fault that there is."""

import re
from pathlib import Path

import pytest
from farshore_sim.faults import disk, powerloss
from farshore_sim.faults.damage import Damage
from farshore_sim.faults.disk import DiskFault

PAGE = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()


def test_every_kind_of_damage_stands_on_the_page_with_what_comes_of_it() -> None:
    assert {kind for kind in Damage if f"`{kind.value}`" not in PAGE} == set()
    rows = set(re.findall(r"^\| (?:closed|in use) \| `[^`]+` \| ([^|]+) \|", PAGE, re.MULTILINE))
    assert rows == {kind.value for kind in Damage}


def test_every_flag_stands_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        powerloss.main(["--help"])
    flags = set(re.findall(r"--[a-z]+", capsys.readouterr().out)) - {"--help"}
    assert flags == set(re.findall(r"^\| `(--[a-z]+)", PAGE, re.MULTILINE))


def test_every_fault_of_a_disk_stands_on_the_page() -> None:
    faults = {name for name, value in vars(disk).items() if isinstance(value, DiskFault)}
    assert {name for name in faults if f"`{name}`" not in PAGE} == set()
