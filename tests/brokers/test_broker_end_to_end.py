"""A fleet over each kind of broker: what the broker loses, Farshore does not."""

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest
from brokers.fleet import SAMPLE_S, Fleet, make_fleet
from farshore_edge.outbox.outbox import DIED
from link.brokers import Mosquitto
from link.peer import Peer
from link.wire import Wire

pytestmark = pytest.mark.processes


@pytest.fixture
async def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Fleet]:
    fleet = make_fleet(request.param, tmp_path)
    await fleet.start()
    yield fleet
    await fleet.end()


async def check_the_books(fleet: Fleet, started_anew: Collection[str] = ()) -> None:
    """After the agents' orderly end: nothing waits, nothing is missing, nothing is twice."""
    codes = await asyncio.gather(*(node.stop() for node in fleet.nodes.values()))
    assert codes == [0, 0], fleet.logs()
    for name in fleet.agents:
        assert fleet.outbox(name) == 0, "an outbox is empty when all of it is acknowledged"
        books = await fleet.books(name)
        assert books["metrics"]["head"] >= 10
        assert books["results"]["head"] >= 1
        for stream, book in books.items():
            story = (name, stream, book)
            assert book["accepted"] + book["lost_records"] == book["head"], story
            assert book["holes"] == [], story
            # What a killed agent had in memory alone is declared.
            may_lose = {DIED} if name in started_anew and stream == "metrics" else set()
            assert {line["reason"] for line in book["lost"]} <= may_lose, story
        telemetry = await fleet.get(f"/nodes/{name}/telemetry", series="uptime_s")
        values = telemetry["series"]["uptime_s"]["v"]
        assert len(set(values)) == len(values), "no sample is there twice"
        if name not in started_anew:  # for a while it measured nothing
            made = (max(values) - min(values)) / SAMPLE_S + 1
            assert len(values) == pytest.approx(made, rel=0.15), "and none is missing"
    metrics = (await fleet.http.get("/metrics")).text
    refused = [line for line in metrics.splitlines() if line.startswith("farshore_rejected_total{")]
    # A birth that was said before the center could hear it is asked for.
    assert all("unknown_node" in line for line in refused), refused


@pytest.mark.parametrize("fleet", ["embedded", "mosquitto", "nats"], indirect=True)
async def test_a_broker_killed_and_wiped_under_load_loses_nothing(fleet: Fleet) -> None:
    conns = await fleet.ready()
    await fleet.ping()
    await fleet.until_metrics(5)
    await fleet.kill_the_broker()
    if fleet.broker is not None:

        async def look() -> str | None:
            answer = await fleet.http.get("/readyz")
            return answer.text if answer.status_code == 503 else None

        answer = await fleet.until(look, "the center to see that the broker is gone")
        assert '"broker":false' in answer
        assert '"reasons":{"broker":"' in answer
    await asyncio.sleep(10 * SAMPLE_S)  # what is measured without a broker is what is to be kept
    await fleet.start_the_broker()
    await fleet.ready(after=conns)
    await fleet.ping()
    await fleet.until_metrics(5)
    await check_the_books(fleet)


async def test_the_center_alone_cut_off_from_the_broker_loses_nothing(tmp_path: Path) -> None:
    """The broker acknowledges what nobody gets.

    One node's connection holds all the while. The other one starts anew, and its birth reaches a
    broker at which nobody listens and which keeps no births.
    """
    broker = Mosquitto(tmp_path / "broker")
    wire = Wire(broker.port)
    await wire.start()
    fleet = Fleet(tmp_path / "fleet", broker, center_port=wire.port)
    await fleet.start()
    try:
        await fleet.ready()
        await fleet.until_metrics(5)
        boot = (await fleet.get("/nodes/a-1"))["boot"]
        wire.cut()
        wire.refuse = True
        watcher = await Peer(broker.link(), "watcher", "fs1/up/a-1/birth").start()
        fleet.nodes["a-1"].kill()
        fleet.nodes["a-1"].start()
        await watcher.until_messages(1)
        await watcher.end()
        assert (await fleet.http.get("/readyz")).json()["checks"]["broker"] is False
        wire.refuse = False

        async def seen() -> bool | None:
            node = await fleet.get("/nodes/a-1")
            return True if node["state"] == "online" and node["boot"] != boot else None

        await fleet.ready()
        await fleet.until(seen, "the node that started anew to be seen")
        await fleet.ping()
        await fleet.until_metrics(5)
        await check_the_books(fleet, started_anew={"a-1"})
    finally:
        await fleet.end()
        await wire.stop()
