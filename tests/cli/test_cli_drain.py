"""``farshore node drain`` against a center that a test moves: followed, shown, taken back."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from cli.task_center import SINCE, drain_of, item, leave
from farshore_center.cli import drain_watch
from typer.testing import Result

if TYPE_CHECKING:
    from cli.conftest import ContractCenter
from cli.task_following import DEADLINE_S, follow

Cli = Callable[..., Result]


def test_a_node_is_drained_and_used_again(center: "ContractCenter", cli: Cli) -> None:
    said = cli("node", "drain", "pi-1", "--deadline", "10m", "-m", "fan")
    assert said.stdout == (
        f"pi-1 takes nothing new; 1 instance to move, by {SINCE} at the latest\n"
    )
    assert center.asked[0][:2] == ("POST", "/nodes/pi-1/drain")
    assert center.asked[0][3] == {"reason": "fan", "deadline_s": 600.0}
    assert cli("node", "undrain", "pi-1").stdout == "pi-1 takes work again\n"


@pytest.mark.processes
def test_a_drain_is_followed_until_nothing_is_left(
    center: "ContractCenter", environment: dict[str, str]
) -> None:
    center.drains["pi-1"] = drain_of("pi-1", item("web", "running"), item("report", "running"))
    process, timer = follow(center, environment, "node", "drain", "pi-1", "--wait")
    leave(center, "pi-1", item("report", "stopping", "its node is drained"))
    line = ""
    while "web/0 has left" not in line:
        line = process.stdout.readline()
        assert line
    leave(center, "pi-1")
    rest, _ = process.communicate(timeout=DEADLINE_S)
    timer.cancel()
    assert process.returncode == 0
    assert rest.splitlines()[-1] == "pi-1 is drained: no task is on it"


@pytest.mark.processes
def test_a_drain_that_somebody_takes_back_is_exit_code_1(
    center: "ContractCenter", environment: dict[str, str]
) -> None:
    center.drains["pi-1"] = drain_of("pi-1", item("web", "running"))
    process, timer = follow(center, environment, "--json", "node", "drain", "pi-1", "--wait")
    leave(center, "pi-1", item("web", "running"), drained=False)
    out, _ = process.communicate(timeout=DEADLINE_S)
    timer.cancel()
    assert process.returncode == 1
    assert json.loads(out)["drained"] is False


def test_a_drain_whose_deadline_has_passed_is_exit_code_1(
    center: "ContractCenter", cli: Cli
) -> None:
    said = cli("node", "drain", "pi-1", "--wait", "--deadline", "1s")
    assert said.exit_code == 1
    assert said.stdout.splitlines()[-1] == (
        "pi-1: the deadline has passed; still there: 1 instance"
    )


def test_a_drain_of_a_node_with_nothing_is_over_at_once(center: "ContractCenter", cli: Cli) -> None:
    center.drains["pi-1"] = drain_of("pi-1")
    said = cli("node", "drain", "pi-1", "--wait")
    assert (said.exit_code, said.stdout) == (0, "pi-1 is drained: no task is on it\n")


@pytest.mark.parametrize(
    ("left", "now", "more", "code"),
    [
        (0, 0, {}, 0),
        (0, 0, {"drained": False}, 0),
        (1, 10**15, {}, None),
        (1, 29_000, {"deadline": "1970-01-01T00:00:00.000Z"}, None),
        (1, 31_000, {"deadline": "1970-01-01T00:00:00.000Z"}, 1),
        (1, 0, {"drained": False}, 1),
    ],
)
def test_when_following_a_drain_is_over(
    left: int, now: int, more: dict[str, Any], code: int | None
) -> None:
    found = drain_of("pi-1", *[item("web", "running")] * left, **more)
    assert drain_watch.verdict(found, now) == code


def test_the_picture_of_a_drain_shows_what_is_left() -> None:
    items = [item(f"t{number}", "running") for number in range(9)]
    lines = drain_watch.picture(drain_of("pi-1", *items), 12, 90, 10)
    text = "\n".join(
        "".join(part if isinstance(part, str) else part.text for part in line) for line in lines
    )
    assert "pi-1" in text
    assert "3 of 12 instances have left" in text
    assert "… 4 more" in text


def test_a_drained_node_is_seen_to_be_one(center: "ContractCenter", cli: Cli) -> None:
    center.add_node("pi-1", drained=True)
    center.add_node("pi-2", drained=False)
    assert cli("nodes").stdout.splitlines()[-1] == "2 nodes: 2 online, 0 offline, 1 drained"
    assert "it takes no new tasks" in cli("node", "pi-1").stdout
    assert "drained" not in cli("node", "pi-2").stdout


def test_a_node_is_shown_by_its_name_alone(center: "ContractCenter", cli: Cli) -> None:
    center.add_node("pi-1")
    center.add_node("drain")
    assert cli("node", "pi-1").stdout == cli("node", "show", "pi-1").stdout
    assert json.loads(cli("node", "--json", "pi-1").stdout)["name"] == "pi-1"
    assert "drain" in cli("node", "show", "drain").stdout
