"""The center is killed while layers change: what was accepted is kept, and reaches every node."""

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any

import httpx
import pytest
from center.running import PahoNode
from center_config.played import ConfigNode
from farshore_protocol.config.digest import digest
from system.programs import CenterProgram, until

pytestmark = pytest.mark.processes

NODES = {"pi-1": "eu/hamburg", "pi-2": "eu/bremen", "pi-3": "us"}
LAYERS = ("defaults", "group/eu", "group/us", "group/eu~hamburg", *(f"node/{n}" for n in NODES))
LIVES = 6


async def change(center: CenterProgram, rng: random.Random, taken: dict[str, int]) -> None:
    """Goes on changing layers; ``taken`` is the newest revision of each that was answered."""
    for number in range(10_000):
        layer = rng.choice(LAYERS)
        patch = {"agent": {"batch_s": 1 + number % 7}, "lamp": {layer.replace("/", "-"): number}}
        answer = await center.http.put(f"/api/v1/config/{layer}", json={"patch": patch})
        if answer.status_code in (200, 201):
            taken[layer] = answer.json()["rev"]


async def test_a_killed_center_loses_no_accepted_change_and_sends_what_it_owes(
    tmp_path: Path,
) -> None:
    rng = random.Random(11)
    center = CenterProgram(tmp_path)
    nodes: dict[str, ConfigNode] = {}
    taken: dict[str, int] = {}

    async def join(life: int) -> None:
        for name, group in NODES.items():
            client = await PahoNode(center.mqtt_port, name).ready()
            if name not in nodes:
                nodes[name] = ConfigNode(client)
            await nodes[name].join(client, life, group=group)

    def leave() -> None:
        for node in nodes.values():
            node.node.leave()

    try:
        for life in range(1, LIVES + 1):
            center.start()
            await center.ready()
            await join(life)
            changing = asyncio.create_task(change(center, rng, taken))
            await asyncio.sleep(rng.uniform(0.05, 0.8))  # the random moment is what is tested
            center.kill()
            with contextlib.suppress(httpx.TransportError):
                await changing
            leave()
        center.start()
        await center.ready()
        await join(LIVES + 1)
        for layer, rev in taken.items():
            assert (await center.get(f"/config/{layer}"))["rev"] >= rev
        for name, node in nodes.items():
            wanted = await center.get(f"/nodes/{name}/config")

            async def applied(name: str = name, wanted: Any = wanted) -> bool:
                found = (await center.get(f"/nodes/{name}"))["config"]
                said = (found["state"], found["reported_digest"])
                return said == ("applied", wanted["digest"])

            await until(applied, f"{name} with its own")
            assert node.config == wanted["config"]
            assert digest(node.config) == wanted["digest"]
        assert len(taken) >= 3
    finally:
        for node in nodes.values():
            await node.stop()
        leave()
        if center.process is not None:
            center.end()
        await center.http.aclose()
