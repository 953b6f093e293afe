"""A call imports what its own command needs; and the words that say which are those that exist."""

import subprocess
import sys
from typing import Any

import pytest
import typer
from farshore_center.cli import main
from farshore_center.cli.main import NOUNS, assembled, for_words


def words_of(app: typer.Typer) -> set[str]:
    tree: Any = typer.main.get_group(app)
    return set(tree.commands)


@pytest.mark.parametrize("noun", NOUNS)
def test_each_module_registers_the_words_that_the_table_says(noun: str) -> None:
    assert words_of(assembled([noun])) == set(NOUNS[noun])


@pytest.mark.parametrize(
    ("words", "noun"),
    [
        (["run", "--all", "ping"], "commands"),
        (["--json", "--url", "http://a", "nodes"], "nodes"),
        (["--url", "nodes", "events"], "events"),
        (["--url=http://a", "--no-color", "group", "tree"], "group"),
    ],
)
def test_the_module_of_the_command_is_enough(words: list[str], noun: str) -> None:
    assert words_of(for_words(words)) == set(NOUNS[noun])


@pytest.mark.parametrize("words", [[], ["--help"], ["nods"], ["--url"], ["--version", "run"]])
def test_where_that_cannot_be_told_the_program_is_whole(words: list[str]) -> None:
    assert words_of(for_words(words)) == {word for own in NOUNS.values() for word in own}


def test_there_is_no_other_name_than_app() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        main.nothing  # noqa: B018 # that it raises is the promise


@pytest.mark.processes
def test_a_call_leaves_out_what_it_does_not_need(nowhere: str) -> None:
    code = (
        "import sys; from farshore_center.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as exc: print(exc.code, [m for m in sys.argv[-1].split(',') "
        "if sys.modules.get(m)])"
    )
    unneeded = "rich,httpx._main,farshore_center.cli.telemetry,farshore_center.cli.config"
    argv = [sys.executable, "-c", code, "--url", nowhere, "command", unneeded.replace(",", "_")]
    argv[-1:] = ["--json", unneeded]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "2 []"
