"""The reading commands against a real server: what they show, plainly on a pipe and as JSON."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import Result

if TYPE_CHECKING:
    from cli.conftest import ContractCenter

Cli = Callable[..., Result]


@pytest.fixture
def fleet(center: "ContractCenter") -> "ContractCenter":
    center.add_node("pi-2", group="eu/hamburg", labels={"env": "prod", "line": 3})
    center.add_node("pi-1", group="eu/hamburg", online=False)
    center.add_node(
        "gpu-1",
        group="core",
        facts={"os": {"name": "Debian \x1b[31m12"}, "cpu": {"cores": 4, "flags": ["a", "b"]}},
    )
    whole = {"accepted": 90, "duplicates": 3, "head": 100, "holes": [], "current": True}
    loss = {"range": [91, 100], "reason": "quota", "at": "2026-03-01T10:00:00Z"}
    center.streams = {
        "pi-1": [{"stream": "metrics", "epoch": "k3", **whole, "lost": [loss]}],
        "pi-2": [
            {"stream": "metrics", "epoch": "m7", **whole, "lost": [], "holes": [[40, 44]]},
            {"stream": "events", "epoch": "m7", **whole, "accepted": 100, "lost": []},
        ],
    }
    center.groups = [
        {"path": "eu", "nodes": 2, "online": 1},
        {"path": "core", "nodes": 1, "online": 1},
        {"path": "eu/hamburg", "nodes": 2, "online": 1},
    ]
    minute = 60_000
    center.series = {
        "cpu.percent": {"t": [0, minute, 2 * minute], "v": [10.0, None, 30.0]},
        "net.receive_bytes_total{interface=eth0}": {"t": [0, minute], "v": [0, 61440 * 60]},
        "zz.odd": {"t": [0], "v": [1.5]},
    }
    center.rejected = [
        {
            "at": "2026-03-01T10:00:00Z", "node": "pi-1", "client_id": "pi-1",
            "topic": "fs1/up/pi-1/tel/host", "reason": "bad_json", "detail": "no JSON at \x1b]0;x\x07",
            "payload_bytes": 2048, "payload_start": "{,",
        }
    ]  # fmt: skip
    return center


def lines(result: Result) -> list[str]:
    assert result.exit_code == 0, result.stderr
    return str(result.stdout).splitlines()


def test_nodes_are_sorted_by_group_then_name_and_counted(fleet: Any, cli: Cli) -> None:
    header, *rows, footer = lines(cli("nodes"))
    assert header.split() == ["NAME", "GROUP", "STATE", "SEEN", "AGENT", "CPU", "MEM", "LABELS"]
    assert [row.split()[0] for row in rows] == ["gpu-1", "pi-1", "pi-2"]
    assert rows[2].split()[1:3] == ["eu/hamburg", "online"]
    assert rows[2].endswith("3.1%  40%  env=prod,line=3")
    assert footer == "3 nodes: 2 online, 1 offline"


def test_nodes_filters_travel_to_the_center(fleet: Any, cli: Cli) -> None:
    result = cli("nodes", "--state", "offline", "--group", "eu")
    assert [row.split()[0] for row in lines(result)[1:-1]] == ["pi-1"]
    assert lines(result)[-1] == "1 node: 0 online, 1 offline"


def test_nodes_takes_every_page(fleet: Any, cli: Cli) -> None:
    fleet.page = 2
    assert [item["name"] for item in json.loads(cli("nodes", "--json").stdout)["items"]] == [
        "pi-2", "pi-1", "gpu-1",
    ]  # fmt: skip


def test_ages_are_told_by_the_centers_clock(fleet: Any, cli: Cli) -> None:
    """The fixture's time is long ago for the center: an age of days, never ``0s``."""
    assert lines(cli("nodes"))[1].split()[3].partition("d")[0].isdigit()


def test_a_node_shows_everything_but_not_its_escapes(fleet: Any, cli: Cli) -> None:
    text = cli("node", "gpu-1").stdout
    assert "fact os.name      Debian \\x1b[31m12" in text
    assert "clock offset" in text
    assert "+12.5 ms" in text
    assert "2 records, 2.0 KiB" in text
    assert "verbs             ping, exec" in text
    assert "verbs_digest      ea0f1393" in text
    assert "flags" not in text
    assert "\x1b" not in text


def test_a_nodes_facts_can_be_seen_whole(fleet: Any, cli: Cli) -> None:
    assert lines(cli("node", "gpu-1", "--facts"))[3] == 'cpu.flags  ["a","b"]'
    assert "no facts yet" in cli("node", "pi-1", "--facts").stdout


def test_a_node_as_json_holds_its_streams(fleet: Any, cli: Cli) -> None:
    document = json.loads(cli("node", "pi-1", "--json").stdout)
    assert document["name"] == "pi-1"
    assert document["streams"] == fleet.streams["pi-1"]


def test_a_complete_book_is_called_complete(fleet: Any, cli: Cli) -> None:
    shown = lines(cli("streams", "pi-1"))
    assert shown[1].split() == ["metrics", "k3", "90", "3", "100", "0", "-", "10", "10", "quota"]
    assert shown[-1] == "complete: every record up to the head is accepted or declared lost"


def test_what_a_book_lacks_is_named(fleet: Any, cli: Cli) -> None:
    assert lines(cli("streams", "pi-2"))[-1] == (
        "not complete: metrics (epoch m7) has 10 in flight up to 100, holes 40-44"
    )


def test_streams_of_the_fleet_are_one_line_a_node(fleet: Any, cli: Cli) -> None:
    shown = lines(cli("streams"))
    assert shown[1].split() == ["pi-1", "1", "90", "3", "0", "0", "10", "yes"]
    assert shown[2].split() == ["pi-2", "2", "190", "6", "10", "1", "0", "no"]
    assert shown[3] == "not complete: 10 records in flight on 1 node"


def test_telemetry_shows_numbers_units_and_course(fleet: Any, cli: Cli) -> None:
    shown = lines(cli("telemetry", "gpu-1"))
    assert shown[1].split() == ["cpu.percent", "10%", "20%", "30%", "30%", "▁", "█"]
    name, *cells = shown[2].split("  ")
    assert name == "net.receive_bytes_total{interface=eth0}"
    assert [cell.strip() for cell in cells if cell.strip()] == ["60.0 KiB/s"] * 4 + ["▄"]
    assert len(shown) == 4
    assert "zz.odd" not in "".join(shown)


def test_telemetry_globs_choose_and_json_is_raw(fleet: Any, cli: Cli) -> None:
    document = json.loads(cli("telemetry", "gpu-1", "net.*", "zz.odd", "--json").stdout)
    assert document["series"] == {k: v for k, v in fleet.series.items() if k != "cpu.percent"}


def test_telemetry_asks_for_the_time_that_was_wanted(fleet: Any, cli: Cli) -> None:
    cli("telemetry", "gpu-1", "--last", "2m")
    _, path, params, _ = fleet.asked[-1]
    assert path == "/nodes/gpu-1/telemetry"
    assert params["from"] == "-120000ms"
    assert "step" not in params
    cli("telemetry", "gpu-1", "--last", "1d")
    assert fleet.asked[-1][2]["step"] == "540"


def test_telemetry_of_a_node_without_usual_series_shows_what_there_is(fleet: Any, cli: Cli) -> None:
    fleet.series = {"zz.odd": {"t": [0], "v": [1.5]}}
    assert lines(cli("telemetry", "gpu-1"))[1].split()[0] == "zz.odd"
    fleet.series = {"fs.percent{mount=/}": {"t": [0], "v": [1.5]}, "x": {"t": [0], "v": [1]}}
    assert [row.split()[0] for row in lines(cli("telemetry", "gpu-1", "fs.percent"))[1:-1]] == [
        "fs.percent{mount=/}"
    ]


def test_telemetry_without_samples_says_so(fleet: Any, cli: Cli) -> None:
    assert lines(cli("telemetry", "gpu-1", "no.such")) == ["no samples of no.such in the last 15m"]


def test_groups_on_a_pipe_are_whole_paths(fleet: Any, cli: Cli) -> None:
    assert [row.split() for row in lines(cli("groups"))[1:]] == [
        ["core", "1", "1"], ["eu", "2", "1"], ["eu/hamburg", "2", "1"],
    ]  # fmt: skip


def test_rejected_messages_come_with_reasons(fleet: Any, cli: Cli) -> None:
    row = lines(cli("rejected"))[1]
    assert "bad_json" in row
    assert "2.0 KiB" in row
    assert "no JSON at \\x1b]0;x\\x07" in row


def test_events_are_the_latest_oldest_first(fleet: Any, cli: Cli) -> None:
    for kind in ("node.registered", "node.birth", "node.online"):
        fleet.on_loop(lambda kind=kind: fleet.emit(kind, "pi-1", boot="9f3c"))
    assert [row.split()[2] for row in lines(cli("events", "--limit", "2"))] == [
        "node.birth", "node.online",
    ]  # fmt: skip
    assert lines(cli("events", "--since", "2"))[0].endswith("boot=9f3c")
    kinds = json.loads(cli("events", "--kind", "node.birth", "--json").stdout)["items"]
    assert [event["id"] for event in kinds] == [2]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("nodes", "0 nodes: 0 online, 0 offline"),
        ("streams", "no records yet"),
        ("events", "no events"),
        ("rejected", "nothing was rejected"),
        ("commands", "no commands yet"),
    ],
)
def test_an_empty_fleet_is_no_error(cli: Cli, command: str, said: str) -> None:
    assert lines(cli(command))[-1] == said


@pytest.mark.parametrize(
    "command", ["nodes", "streams", "streams pi-1", "groups", "events", "rejected", "commands"]
)
def test_json_is_one_document_before_and_after_the_command(
    fleet: Any, cli: Cli, command: str
) -> None:
    after = cli(*command.split(), "--json")
    before = cli("--json", *command.split())
    assert "items" in json.loads(after.stdout)
    assert before.stdout == after.stdout
