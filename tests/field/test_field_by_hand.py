"""What a person does wrong with a real client: never silent, never done by accident."""

import json
import signal

import pytest
from field.conftest import DEADLINE_S, NODES, Site
from system.programs import until

LISTENER = "mosquitto_sub -v -t 'fs1/up/+/res/+' -t 'fs1/up/+/evt/+'"

pytestmark = [pytest.mark.processes, pytest.mark.asyncio(loop_scope="module")]


async def ids_of(site: Site, verb: str) -> set[str]:
    items = (await site.center.get("/commands", limit=500))["items"]
    return {item["id"] for item in items if item["verb"] == verb}


async def test_a_retained_command_is_not_run_again_at_a_new_connection(site: Site) -> None:
    await site.settle_in()
    await site.listen(LISTENER)
    topic = "fs1/down/pi-17/cmd/exec"
    word = json.dumps({"args": {"argv": ["uname", "-s"]}})
    begun = len(site.heard())
    await site.run(f"mosquitto_pub -r -q 1 -t {topic} -m '{word}'")
    await site.until_heard(('fs1/up/pi-17/res/… {"verb":"exec","state":"succeeded"}',), begun)
    since = len(site.heard())
    agent = site.agents["pi-17"]
    before = (await site.center.get("/nodes/pi-17"))["boot"]
    agent.end(signal.SIGTERM)
    agent.start()

    async def anew() -> bool:
        node = await site.center.get("/nodes/pi-17")
        return bool(node["boot"] != before and node["state"] == "online")

    await until(anew, "the agent", DEADLINE_S)
    if site.broker is None:
        rejected = (await site.center.get("/rejected"))["items"]
        assert [r["topic"] for r in rejected if r["reason"] == "retained_command"] == [topic]
    else:
        told = f'fs1/up/pi-17/evt/refused {{"data":{{"reason":"retained","topic":"{topic}"}}}}'
        await site.until_heard((told,), since)
    await site.run('mosquitto_pub -t fs1/down/pi-17/cmd/ping -m \'{"id":"after"}\'')
    await site.until_heard(('fs1/up/pi-17/res/after {"state":"succeeded"}',), since)
    assert len(await ids_of(site, "exec")) == 1, "it was run when it was said, and never again"
    await site.run(f"mosquitto_pub -r -n -q 1 -t {topic}")
    await site.until_heard(('fs1/up/pi-17/res/… {"verb":"exec","state":"rejected"}',), since)
    events = (await site.center.get("/events", kind="evt.refused", limit=100))["items"]
    assert len(events) == (0 if site.broker is None else 1), "the center knows of it"


async def test_a_group_command_said_twice_is_two_commands_of_all_nodes(site: Site) -> None:
    await site.settle_in()
    await site.listen(LISTENER)
    since = len(site.heard())
    for _ in range(2):
        await site.run("mosquitto_pub -q 1 -t 'fs1/group/eu~hamburg/cmd/status' -m '{}'")
    await site.until_heard(
        tuple(f'fs1/up/{node}/res/group-… {{"verb":"status"}}' for node in NODES * 2), since
    )

    async def counted() -> bool:
        views = [await site.center.get(f"/commands/{i}") for i in await ids_of(site, "status")]
        return sum(len(view["targets"]) for view in views) == 4

    await until(counted, "both commands of both nodes at the center", DEADLINE_S)
    # Three where a minute ended between the two nodes' clocks; never one, never a lost answer.
    assert len(await ids_of(site, "status")) in (2, 3)


async def test_commands_of_qos_0_and_1_and_of_every_shape_are_answered(site: Site) -> None:
    await site.settle_in()
    await site.listen(LISTENER)
    since = len(site.heard())
    for qos in (0, 1):
        for payload in ("-m '{}'", "-n", "-m '[]'", "-m ' '", "-m '{\"args\":3}'"):
            await site.run(f"mosquitto_pub -q {qos} -t fs1/down/pi-18/cmd/ping {payload}")
    good = 'fs1/up/pi-18/res/… {"verb":"ping","state":"succeeded"}'
    error = '{"code":"bad_…","message":"…expected a JSON object…"}'
    bad = f'fs1/up/pi-18/res/… {{"verb":"ping","state":"rejected","error":{error}}}'
    await site.until_heard((*[good] * 4, *[bad] * 6), since)
