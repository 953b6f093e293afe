"""What can be chosen for tasks at the start of a center reaches its decisions, and stands in the docs."""

import random
import re
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from farshore_center.app import Center
from farshore_center.cli.center import app
from farshore_center.settings import Settings, SettingsError, read_settings
from farshore_center.tasks.choices import RANGES, TaskChoices
from farshore_center.tasks.settings import TaskSettings, settings_of
from farshore_protocol.clock import SystemClock
from typer.main import get_command

TEXT = (Path(__file__).parents[2] / "docs" / "operation.md").read_text(encoding="utf-8")


def options() -> dict[str, Any]:
    run = get_command(app).commands["run"]  # type: ignore[attr-defined]
    return {each.name: each for each in run.params}


def documented() -> dict[str, list[str]]:
    rows = [line for line in TEXT.splitlines() if line.startswith("| `--")]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {re.findall(r"`--([a-z-]+)`", row[0])[0].replace("-", "_"): row for row in cells}


def test_every_option_of_the_center_is_documented_and_no_other() -> None:
    assert documented().keys() == options().keys() - {"help"}


def test_the_docs_have_the_defaults_the_ranges_and_the_variables() -> None:
    words = {True: "on", False: "off"}
    for name, default in asdict(TaskChoices()).items():
        _, shown, meaning = documented()[name]
        expected = words[default] if isinstance(default, bool) else f"`{default}`"
        assert (name, shown) == (name, expected)
        assert f"`FARSHORE_{name.upper()}`" in meaning
        assert (options()[name].default, options()[name].envvar) == (
            default,
            f"FARSHORE_{name.upper()}",
        )
        if name in RANGES:
            assert f"({RANGES[name].least:g} to {RANGES[name].most:,})" in meaning


def test_the_defaults_of_choices_are_those_of_the_room() -> None:
    assert settings_of(TaskChoices()) == TaskSettings()


def settings_with(path: Path, tasks: TaskChoices) -> Settings:
    return read_settings(
        data=path, http="127.0.0.1:1", mqtt="127.0.0.1:2", database=None, dev=True,
        log_level="INFO", tasks=tasks,
    )  # fmt: skip


def test_what_is_chosen_reaches_the_room(tmp_path: Path) -> None:
    other = TaskChoices(
        preempt=False, preempt_distance=7, rebalance=True, rebalance_every_s=11.0,
        rebalance_gain=0.3, rebalance_rest_s=12.0, rebalance_moves=3, answer_s=13.0,
    )  # fmt: skip
    assert all(getattr(other, f.name) != getattr(TaskChoices(), f.name) for f in fields(other))
    settings = settings_with(tmp_path, other)
    center = Center(settings, clock=SystemClock(), rng=random.Random(1))
    assert center.tasks.settings == replace(TaskSettings(), **asdict(other))


@pytest.mark.parametrize("name", sorted(RANGES))
def test_what_can_not_be_used_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    allowed = RANGES[name]
    for value in (allowed.least - 1, allowed.most + 1, float("nan")):
        wrong = replace(TaskChoices(), **{name: value})  # type: ignore[arg-type] # as flags give it
        with pytest.raises(SettingsError, match=f"--{name.replace('_', '-')} = .*: expected"):
            settings_with(tmp_path, wrong)
