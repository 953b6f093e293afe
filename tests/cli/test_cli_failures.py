"""How ``farshore`` fails: a message that helps, and the exit code that was promised."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from farshore_center.cli.arguments import text_hint
from farshore_center.cli.errors import RefusedError, explain
from farshore_center.cli.main import app as farshore
from typer.testing import CliRunner, Result

Cli = Callable[..., Result]

EVERY_COMMAND = [
    "nodes", "node pi-1", "groups", "streams", "streams pi-1", "run pi-1 ping", "command c1",
    "commands", "cancel c1", "telemetry pi-1", "events", "events --follow", "rejected",
]  # fmt: skip


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_no_center_is_exit_code_3(nowhere: str, command: str) -> None:
    result = CliRunner().invoke(farshore, ["--url", nowhere, *command.split()])
    assert result.exit_code == 3
    assert f"the center at {nowhere} can't be reached" in result.stderr
    assert result.stdout == ""


def test_no_center_is_a_problem_document_in_json(nowhere: str) -> None:
    result = CliRunner().invoke(farshore, ["nodes", "--json"], env={"FARSHORE_URL": nowhere})
    assert result.exit_code == 3
    assert json.loads(result.stdout)["title"] == "the center can't be reached"


def test_another_service_is_not_taken_for_a_center(center: Any, cli: Cli) -> None:
    for path in ("/elsewhere", "/nothing-here"):
        result = cli("nodes", "--url", center.url + path)
        assert result.exit_code == 3, path
        assert "no Farshore center" in result.stderr


def test_a_center_that_is_not_ready_is_exit_code_3(center: Any, cli: Cli) -> None:
    center.fail_next = [503, 503, 503]
    assert cli("nodes").exit_code == 3
    assert "does not serve now: 503 told to fail" in cli_error(center, cli)


def cli_error(center: Any, cli: Cli) -> str:
    center.fail_next = [503, 503, 503]
    return str(cli("nodes").stderr)


def test_a_get_is_tried_again_and_a_post_is_not(center: Any, cli: Cli) -> None:
    center.add_node("pi-1")
    center.fail_next = [503, 503]
    assert cli("nodes").exit_code == 0
    center.asked.clear()
    center.fail_next = [503]
    assert cli("run", "pi-1", "ping").exit_code == 3
    assert len(center.asked) == 1


def test_a_refused_field_is_named_with_what_was_expected(center: Any, cli: Cli) -> None:
    result = cli("run", "pi-1", "nonsense")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "farshore: Not valid (422): 1 field is wrong",
        "  verb: no node knows it (expected ping, exec)",
    ]
    assert (
        json.loads(cli("run", "pi-1", "nonsense", "--json").stdout)["errors"][0]["field"] == "verb"
    )


def test_an_unknown_node_is_exit_code_1(center: Any, cli: Cli) -> None:
    result = cli("node", "pi-9")
    assert result.exit_code == 1
    assert result.stderr == "farshore: Not found (404): there is no node 'pi-9'\n"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        pytest.param(
            {"detail": "no verb 'pnig'", "errors": [
                {"field": "verb", "detail": "no verb 'pnig'", "expected": "one of ping"}]},
            ["No (422)", "  verb: no verb 'pnig' (expected one of ping)"],
            id="once, where more is said",
        ),
        pytest.param(
            {"detail": "there is no job 'x'", "errors": [
                {"field": "id", "detail": "there is no job 'x'", "expected": ""}]},
            ["No (422): there is no job 'x'"],
            id="once, where no more is said",
        ),
        pytest.param(
            {"detail": "a: bad; b: worse", "errors": [
                {"field": "a", "detail": "bad"}, {"field": "b", "detail": "worse"}]},
            ["No (422)", "  a: bad", "  b: worse"],
            id="several",
        ),
        pytest.param(
            {"detail": "2 nodes would break", "errors": [{"field": "/a", "detail": "bad"}]},
            ["No (422): 2 nodes would break", "  /a: bad"],
            id="both say something",
        ),
    ],
)  # fmt: skip
def test_nothing_is_said_twice(document: dict[str, Any], said: list[str]) -> None:
    assert explain(422, {"title": "No", **document}).splitlines() == said


def test_a_number_that_should_be_text_is_told_how_to_be_one() -> None:
    error = {"field": "args.name", "detail": "Expected `str`, got `int`"}
    refused = RefusedError(422, {"title": "No", "errors": [error]})
    assert text_hint(refused, {"name": 80}) == (
        "--arg name=80 was read as JSON; as text: --arg 'name=\"80\"'"
    )
    assert text_hint(refused, {"name": "80"}) == text_hint(refused, {}) == ""


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("run ping", "expected nodes and then a verb"),
        ("run --all pi-1 ping", "--all takes the verb alone"),
        ("run pi-1 ping --arg novalue", "expected K=V"),
        ("run pi-1 ping --arg a=1 --arg a=2", "given twice"),
        ("run pi-1 exec --arg argv=[] -- ls", "give one of them"),
        ("run pi-1 ping --ttl 0", "--ttl"),
        ("telemetry pi-1 --last soon", "expected for example 90s"),
        ("nodes --state asleep", "asleep"),
        ("nodes --url ftp://there", "expected http://"),
        ("nodes --url http://there:notaport", "expected http://"),
        ("node ../groups", "is no name"),
        ("command a?b", "is no name"),
        ("nothing", "No such command"),
        ("node show", "Missing argument"),
    ],
)
def test_bad_usage_is_exit_code_2_and_asks_nobody(
    center: Any, cli: Cli, args: str, said: str
) -> None:
    result = cli(*args.split())
    assert result.exit_code == 2
    assert said in result.stderr
    assert center.asked == []


def test_a_password_in_the_address_is_not_repeated(nowhere: str) -> None:
    url = nowhere.replace("//", "//me:secret@")
    result = CliRunner().invoke(farshore, ["nodes", "--url", url])
    assert result.exit_code == 3
    assert "secret" not in result.output
