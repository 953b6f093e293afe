"""``farshore verbs``: the catalogue, a node's verbs, and one verb with its arguments."""

import json
from collections.abc import Callable
from typing import Any

from typer.testing import Result

Cli = Callable[..., Result]


def test_the_catalogue_is_a_table(center: Any, cli: Cli) -> None:
    center.add_node("pi-1")
    done = cli("verbs")
    assert done.exit_code == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()[1:]] == [
        [*("exec", "danger", "60s", "1"), *ARGS.split(), *EXEC.split()],
        [*("ping", "read", "10s", "1", "-"), *PING.split()],
    ]


ARGS = "argv, cwd?, env?, stdin?, cpu_s?, memory_bytes?, processes?, open_files?, file_bytes?"
EXEC = "Runs a program by its argument vector and gives its exit code and output."
PING = "Answers at once; shows that the node hears and can speak."


def test_a_verb_shows_its_arguments_and_its_result(center: Any, cli: Cli) -> None:
    done = cli("verbs", "exec")
    assert done.exit_code == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[:2] == [
        f"exec: {EXEC}",
        "risk danger; again after a crash: no; timeout 60 s; 0 nodes",
    ]
    assert "argv list of string of up to 65,536 characters required" in lines
    assert "cwd string -" in lines
    assert "memory_bytes integer, 1,048,576 or more -" in lines
    assert "exit_code integer" in lines
    assert cli("verbs", "exec", "--json").stdout.count('"additionalProperties": false') == 1


def test_a_node_shows_what_it_has_and_that_it_is_another_version(center: Any, cli: Cli) -> None:
    center.add_node("pi-1")
    done = cli("verbs", "pi-1")
    assert done.exit_code == 0, done.stderr
    assert "blink\\x1b[31m" in done.stdout
    assert "not in this center's catalogue" in done.stdout
    assert "another version" in done.stderr
    assert json.loads(cli("verbs", "pi-1", "--json").stdout)["same"] is False


def test_a_node_that_is_called_like_a_verb(center: Any, cli: Cli) -> None:
    center.add_node("ping")
    assert cli("verbs", "ping").stdout.startswith("ping: ")
    assert cli("verbs", "--node", "ping").stdout.startswith("VERB")


def test_what_is_neither_is_told(center: Any, cli: Cli) -> None:
    done = cli("verbs", "pnig")
    assert done.exit_code == 1
    assert "pnig" in done.stderr


def test_what_is_neither_a_verb_nor_a_node(center: Any, cli: Cli) -> None:
    done = cli("verbs", "exce")
    assert done.exit_code == 1
    assert done.stderr == (
        "farshore: there is neither a verb nor a node 'exce'; did you mean exec?\n"
    )
