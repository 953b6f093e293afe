"""A real center on a bad disk: full, it acknowledges nothing and refuses commands; slow, it goes on."""

from collections.abc import Callable

import pytest
from farshore_sim.faults.disk import FULL, database_paths, inject, slow
from system.programs import AgentProgram, CenterProgram, until
from system.test_center_killed import at_the_agent
from system.test_center_restored import accepted, more_accepted

pytestmark = pytest.mark.processes


async def test_a_center_whose_disk_is_full_acknowledges_nothing_and_loses_nothing(
    make_center: Callable[..., CenterProgram],
    make_agent: Callable[[str, int], AgentProgram],
) -> None:
    center = make_center()
    await center.ready()
    agent = make_agent("pi-1", center.mqtt_port)
    await center.online("pi-1")
    await more_accepted(center, "pi-1", 3)
    process = center.process
    assert process is not None
    async with inject(process.pid, FULL, paths=database_paths(center.data / "center.db")) as full:
        await until(lambda: full.met() > 3, "writes that are refused")
        before = await accepted(center, "pi-1")
        refused = await center.http.post("/api/v1/commands", json={"node": "pi-1", "verb": "ping"})
        assert refused.status_code == 503, refused.text
        met = full.met()
        await until(lambda: full.met() > met + 3, "more writes that are refused")
        assert await accepted(center, "pi-1") == before, "what is not stored is not acknowledged"
        assert (await center.http.get("/healthz")).status_code == 200
    await more_accepted(center, "pi-1", 5)
    given = await center.command("pi-1", "ping")
    assert (await center.done(given["id"]))["summary"] == {"succeeded": 1}
    await all_there(center, agent)


async def test_a_center_whose_disk_is_slow_goes_on(
    make_center: Callable[..., CenterProgram],
    make_agent: Callable[[str, int], AgentProgram],
) -> None:
    center = make_center()
    await center.ready()
    agent = make_agent("pi-1", center.mqtt_port)
    await center.online("pi-1")
    process = center.process
    assert process is not None
    paths = database_paths(center.data / "center.db")
    async with inject(process.pid, slow(0.15), paths=paths) as injection:
        given = await center.command("pi-1", "ping")
        await more_accepted(center, "pi-1", 3)
        assert (await center.done(given["id"]))["summary"] == {"succeeded": 1}
        await until(lambda: injection.met() > 3, "more calls that are slow")
    await all_there(center, agent)


async def all_there(center: CenterProgram, agent: AgentProgram) -> None:
    assert agent.end() == 0, agent.text()
    items = (await center.get("/nodes/pi-1/streams"))["items"]
    found = {item["stream"]: item for item in items}
    for stream, (epoch, head) in at_the_agent(agent).items():
        if head:
            book = found[stream]
            assert (book["epoch"], book["accepted"], book["lost_records"]) == (epoch, head, 0), book
    assert center.end() == 0
