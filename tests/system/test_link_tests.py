"""``link-test`` through the embedded broker, through Mosquitto, and over a slow link beside the streams."""

from collections.abc import Callable
from typing import Any

import pytest
from farshore_sim.faults import TcpProxy
from farshore_sim.faults.link_faults import Throttle
from system.programs import AgentProgram, CenterProgram, MosquittoProgram, until

pytestmark = pytest.mark.processes

RATE = 60_000


async def run(center: CenterProgram, **args: Any) -> dict[str, Any]:
    made = await center.command("n1", "link-test", args, ttl_s=60, timeout_s=120)
    [target] = (await center.done(made["id"]))["targets"]
    assert target["state"] == "succeeded", target
    result: dict[str, Any] = target["result"]
    return result


def fits(result: dict[str, Any], moved: int) -> None:
    trips = result["round_trip"]
    assert (trips["sent"], trips["loss_percent"]) == (10, 0)
    assert 0 < trips["min_ms"] <= trips["median_ms"] <= trips["p95_ms"] <= trips["max_ms"]
    for way in ("up", "down"):
        assert result[way]["complete"], result
        assert result[way]["bytes"] >= moved


async def test_through_the_embedded_broker(
    make_center: Callable[..., CenterProgram], make_agent: Callable[[str, int], AgentProgram]
) -> None:
    center = make_center()
    await center.ready()
    make_agent("n1", center.mqtt_port)
    await center.online("n1")
    fits(await run(center, bytes=1_000_000), 1_000_000)


async def test_through_an_external_broker(
    mosquitto: MosquittoProgram,
    make_center: Callable[..., CenterProgram],
    make_agent: Callable[[str, int], AgentProgram],
) -> None:
    center = make_center(mqtt=f"mqtt://127.0.0.1:{mosquitto.port}")
    await center.ready()
    make_agent("n1", mosquitto.port)
    await center.online("n1")
    fits(await run(center, bytes=500_000), 500_000)


async def test_a_slow_link_is_measured_and_the_streams_go_on(
    make_center: Callable[..., CenterProgram], make_agent: Callable[[str, int], AgentProgram]
) -> None:
    center = make_center()
    await center.ready()
    proxy = TcpProxy("127.0.0.1", center.mqtt_port, buffer_bytes=4096)
    await proxy.start()
    try:
        make_agent("n1", proxy.port)
        await center.online("n1")
        proxy.put(Throttle(bytes_per_s=RATE))

        async def accepted() -> int:
            books = await center.get("/nodes/n1/streams")
            return sum(b["accepted"] for b in books["items"] if b["stream"] == "metrics")

        before = await accepted()
        made = await center.command(
            "n1", "link-test", {"bytes": 600_000, "seconds": 10}, ttl_s=60, timeout_s=120
        )
        during = await until(accepted, "records") and await _more(center, accepted, before + 5)
        view = await center.get(f"/commands/{made['id']}")
        assert not view["done"], "they came while it was measured"
        assert during
        [target] = (await center.done(made["id"]))["targets"]
        assert target["state"] == "succeeded", target
        for way in ("up", "down"):
            assert 0.4 * RATE < target["result"][way]["bytes_per_s"] < 1.3 * RATE, target
    finally:
        await proxy.stop()


async def _more(center: CenterProgram, accepted: Callable[[], Any], least: int) -> bool:
    async def look() -> bool:
        found: int = await accepted()
        return found >= least

    await until(look, "more records")
    return True
