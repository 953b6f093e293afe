"""``farshore group``, ``overlay``, ``label`` and ``--selector`` against a running center."""

import json
from typing import TYPE_CHECKING

import pytest
from center_groups.conftest import Cli, Stage

if TYPE_CHECKING:
    from typer.testing import Result


def rows(result: "Result") -> list[list[str]]:
    assert result.exit_code == 0, result.output
    return [line.split() for line in result.stdout.splitlines()[1:]]


async def test_groups_from_the_command_line(stage: Stage, cli: Cli) -> None:
    await stage.born("pi-1", "eu/hamburg")
    refused = await cli("group", "create", "us/texas")
    assert refused.exit_code == 2
    assert "there is no group 'us'" in refused.stderr
    made = await cli("group", "create", "us/texas", "--parents", "--description", "the south")
    assert made.stdout == "us/texas is made\n"
    said = await cli("group", "describe", "us/texas", "the far south")
    assert said.stdout == "us/texas: the far south\n"
    assert "the far south" in (await cli("group", "show", "us/texas")).stdout
    nowhere = await cli("group", "describe", "us/utah", "salt")
    assert (nowhere.exit_code, "does not exist" in nowhere.stderr) == (1, True)
    twice = await cli("group", "create", "us/texas")
    assert twice.exit_code == 1
    assert "The group exists (412)" in twice.stderr
    assert "there is a group us/texas" in twice.stderr
    assert rows(await cli("group", "list")) == [
        ["eu", "1", "1", "node", "-"],
        ["eu/hamburg", "1", "1", "node", "-"],
        ["us", "0", "0", "person", "-"],
        ["us/texas", "0", "0", "person", "the", "far", "south"],
    ]
    moved = await cli("group", "move", "eu", "us/texas/eu")
    assert moved.stdout == "eu is us/texas/eu now, with 1 node\n"
    assert rows(await cli("group", "tree"))[-1] == ["us/texas/eu/hamburg", "1", "1"]
    shown = await cli("group", "show", "us/texas/eu", "--json")
    assert json.loads(shown.stdout)["groups"] == ["us/texas/eu/hamburg"]
    assert ["groups", "us/texas/eu/hamburg"] in rows(await cli("group", "show", "us/texas/eu"))
    full = await cli("group", "delete", "us")
    assert full.exit_code == 1
    assert "1 nodes and 3 groups" in full.stderr
    await cli("group", "create", "asia")
    gone = await cli("group", "delete", "asia", "--json")
    assert json.loads(gone.stdout) == {"path": "asia", "deleted": True}
    assert (await cli("group", "show", "../nodes")).exit_code == 2
    assert (await cli("group", "show", "asia")).exit_code == 1


async def test_overlays_from_the_command_line(stage: Stage, cli: Cli) -> None:
    await stage.born("pi-1", "eu", labels={"env": "prod"})
    made = await cli("overlay", "set", "prod", "--selector", "label.env = prod", "--priority", "5")
    assert made.stdout == "prod: label.env=prod\n"
    assert rows(await cli("overlay", "list")) == [["5", "prod", "label.env=prod", "-"]]
    shown = await cli("overlay", "show", "prod")
    assert ["pi-1", "eu", "online"] in rows(shown)
    assert json.loads((await cli("overlay", "show", "prod", "--json")).stdout)["members"] == [
        "pi-1"
    ]
    taken = await cli("overlay", "set", "other", "--selector", "all", "--priority", "5")
    assert taken.exit_code == 1
    assert "the overlay prod has priority 5" in taken.stderr
    assert (await cli("overlay", "delete", "prod")).stdout == "prod is deleted\n"
    assert (await cli("overlay", "list", "--json")).stdout.split() == [
        "{",
        '"items":',
        "[],",
        '"next":',
        "null",
        "}",
    ]


async def test_labels_are_set_and_removed_one_by_one(stage: Stage, cli: Cli) -> None:
    await stage.born("pi-1", "eu", labels={"env": "prod", "line": "3"})
    done = await cli("label", "pi-1", "env=test", "line-", "site=a=b")
    assert done.stdout == "pi-1: env=test,site=a=b\n"
    assert (await cli("label", "pi-1")).stdout == "pi-1: env=test,site=a=b\n"
    assert (await stage.running.get("/nodes/pi-1"))["labels"] == {"env": "test", "site": "a=b"}
    for words, said in {("env",): "K=V to set", ("a=1", "a-"): "twice", ("=1",): "a name"}.items():
        bad = await cli("label", "pi-1", *words)
        assert (bad.exit_code, said in bad.stderr) == (2, True)
    wrong = await cli("label", "pi-1", "A=1")
    assert (wrong.exit_code, "label 'A'" in wrong.stderr) == (2, True)


async def test_nodes_by_selector_and_a_caret_below_the_fault(stage: Stage, cli: Cli) -> None:
    await stage.born("pi-1", "eu", labels={"env": "prod"})
    await stage.born("pi-2", "us")
    assert [row[0] for row in rows(await cli("nodes", "--selector", "not group:us/**"))][:-1] == [
        "pi-1"
    ]
    bad = await cli("nodes", "--selector", "group:eu and lable.env=prod")
    assert bad.exit_code == 2
    said = bad.stderr.splitlines()
    assert said[0] == (
        "farshore: The selector can't be read (422): "
        "column 14: 'lable.env' can't stand here; did you mean label?"
    )
    assert said[1] == "  group:eu and lable.env=prod"
    assert said[2].startswith("               ^ expected a term (node:GLOB,")
    far = await cli("nodes", "--selector", "label.env=prod and " * 9 + "?")
    at = far.stderr.splitlines()[2].index("^")
    assert far.stderr.splitlines()[1][at] == "?"
    assert (
        json.loads((await cli("nodes", "--selector", "(", "--json")).stdout)["selector"]["column"]
        == 2
    )


@pytest.mark.parametrize(
    "words",
    [("label.env=prod", "ping"), ("--selector", "label.env=prod", "ping")],
    ids=["as a word", "as an option"],
)
async def test_run_for_a_selector(stage: Stage, cli: Cli, words: tuple[str, ...]) -> None:
    await stage.born("pi-1", "eu", labels={"env": "prod"})
    await stage.born("pi-2", "us")
    done = await cli("run", "--detach", "--json", *words)
    assert done.exit_code == 0, done.output
    assert [target["node"] for target in json.loads(done.stdout)["targets"]] == ["pi-1"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pi-1", "label.a=b", "ping"), "write one selector"),
        (("--all", "--selector", "all", "ping"), "give one of them"),
        (("--selector", "all", "pi-1", "ping"), "--selector takes the verb alone"),
        (("--selector", "label.none=1", "ping"), "the selector means no node now"),
    ],
)
async def test_a_run_that_makes_no_sense(
    stage: Stage, cli: Cli, words: tuple[str, ...], said: str
) -> None:
    result = await cli("run", "--detach", *words)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
