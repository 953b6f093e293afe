"""The REST client and the following of a command, against a center that stumbles."""

import asyncio
from typing import TYPE_CHECKING

import pytest
from farshore_center.cli.client import connect
from farshore_center.cli.errors import UnreachableError
from farshore_center.cli.follow import follow
from farshore_center.cli.main import app as farshore
from farshore_center.cli.progress import Command, is_done
from farshore_protocol.clock import ManualClock, SystemClock
from typer.testing import CliRunner

if TYPE_CHECKING:
    from cli.conftest import ContractCenter

PING = {"node": "pi-1", "verb": "ping", "args": {}, "ttl_s": 60, "timeout_s": 30}


class Watcher:
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: list[Command] = []
        self.absences: list[bool] = []
        self.running = asyncio.Event()

    def show(self, command: Command) -> None:
        self.shown.append(command)
        if command["targets"][0]["state"] == "running":
            self.running.set()

    def away(self, seconds: float | None) -> None:
        self.absences.append(seconds is not None)


@pytest.fixture(autouse=True)
def one_node(center: "ContractCenter") -> None:
    center.add_node("pi-1")
    center.plan["pi-1"] = [{"state": "running"}, {"state": "succeeded"}]


async def test_a_center_that_is_away_in_the_middle_is_waited_for(
    center: "ContractCenter", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farshore_center.cli.follow.POLL_S", 0.05)
    center.sse, center.when = False, "look"
    watcher = Watcher()
    async with connect(center.url, SystemClock()) as client:
        made = await client.post("/commands", PING)
        center.fail_next = [503] * 30
        end = await follow(client, made, watcher)
    assert center.fail_next == []
    assert is_done(end)
    assert [command["targets"][0]["state"] for command in (watcher.shown[0], watcher.shown[-1])] == [
        "queued", "succeeded",
    ]  # fmt: skip
    assert watcher.absences[0]
    assert not watcher.absences[-1]


async def test_a_cut_stream_is_taken_up_after_the_last_event_seen(
    center: "ContractCenter", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farshore_center.cli.follow.POLL_S", 0.05)
    monkeypatch.setattr("farshore_center.cli.follow.NET_S", 3600)
    center.when = "by hand"
    watcher = Watcher()
    async with connect(center.url, SystemClock()) as client:
        made = await client.post("/commands", PING)
        record = center.commands[made["id"]]
        task = asyncio.create_task(follow(client, made, watcher))
        await asyncio.to_thread(center.subscribed.wait, 20)
        center.on_loop(lambda: center.step(record, record["targets"][0], {"state": "running"}))
        await asyncio.wait_for(watcher.running.wait(), 20)
        center.subscribed.clear()
        center.on_loop(center.cut)
        await asyncio.to_thread(center.subscribed.wait, 20)
        center.on_loop(lambda: center.step(record, record["targets"][0], {"state": "succeeded"}))
        assert is_done(await asyncio.wait_for(task, 20))
    subscriptions = [params["!last"] for _, path, params, _ in center.asked if path == "/events"]
    assert subscriptions == ["", "1"]


async def test_a_center_that_stays_away_is_given_up(
    center: "ContractCenter", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farshore_center.cli.follow.POLL_S", 0.01)
    monkeypatch.setattr("farshore_center.cli.follow.PATIENCE_S", 0.2)
    async with connect(center.url, SystemClock()) as client:
        made = await client.post("/commands", PING)
        center.fail_next = [503] * 1000
        with pytest.raises(UnreachableError):
            await follow(client, made, Watcher())
    center.fail_next = []


async def test_the_time_is_the_centers(center: "ContractCenter") -> None:
    wrong = ManualClock(now_ms=1_000_000)
    async with connect(center.url, wrong) as client:
        assert client.now_ms() == 1_000_000
        await client.get("/nodes")
        assert abs(client.now_ms() - SystemClock().now_ms()) < 5000


def test_the_address_on_the_command_line_beats_the_environment(
    center: "ContractCenter", nowhere: str
) -> None:
    env = {"FARSHORE_URL": nowhere}
    for args in (["--url", center.url, "nodes"], ["nodes", "--url", center.url + "/"]):
        assert CliRunner().invoke(farshore, args, env=env).exit_code == 0
    assert CliRunner().invoke(farshore, ["nodes"], env=env).exit_code == 3
