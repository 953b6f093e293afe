"""Configuration: how long a large fleet's takes to compute, and a change to reach a thousand nodes.

Computed are 10,000 nodes under six layers of 4 KiB each, every node with a layer of its own, so that
no two configurations are alike: merge and digest. The thousand nodes of the second part report what
they are sent at once: what the center needs is measured, not what a node does with it.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from farshore_center.config.address import DEFAULTS, Address
from farshore_center.config.fleet import Fleet, Place
from farshore_center.config.plan import Stacks
from farshore_protocol.config.layers import Layer

from bench.center import Center, center
from bench.config_nodes import GROUP
from bench.config_start import start_alone
from bench.context import Context
from bench.errors import BenchError
from bench.model import Figure, Outcome, Runs, Verdict
from bench.processes import farshore, module, running

COMPUTED_NODES = 10_000
COMPUTE_S = 2.0
LAYER_BYTES = 4096
NODES = 1_000
REPORTED_S = 5.0
START_S = 1.0
POLL_S = 0.05
QUIET_S = 2.0
SETTLE_S = 15.0
"""After all have moved: who moves connects anew, to listen to other groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFindings:
    """``accepted_s``: until the PUT of a change to all was answered; ``reported_s``: until all agents
    had reported it; ``played_s``: the same with nodes that report at once; ``sent_for_one``: messages
    that a change to one node came to; ``start_s``, ``start_cpu_s``: until an agent without its center
    ran what it ran before, and its CPU time."""

    compute_s: tuple[float, ...]
    effective_bytes: int
    accepted_s: tuple[float, ...]
    reported_s: tuple[float, ...]
    played_s: tuple[float, ...]
    sent_for_one: tuple[int, ...]
    start_s: tuple[float, ...]
    start_cpu_s: tuple[float, ...]


def _one(name: str, what: str, unit: str, values: Sequence[float]) -> Figure:
    return Figure(name=f"config.{name}", what=what, unit=unit, runs=Runs.of(values))


def _judged(name: str, what: str, unit: str, bound: float, values: Sequence[float]) -> Verdict:
    """By the worst run."""
    return Verdict(
        name=f"config.{name}",
        what=what,
        unit=unit,
        promised=bound,
        measured=max(values),
        sides=(_one(f"{name}.runs", "run by run", unit, values),),
    )


def summarise(found: ConfigFindings) -> Outcome:
    computed = f"effective configurations of {COMPUTED_NODES} nodes under 6 layers of 4 KiB each"
    reported = f"a change in a group of {NODES} nodes, until all report it"
    one = f"messages for a change that touches 1 of {NODES} nodes"
    start = "a cut-off node's start, until its last good configuration runs"
    verdicts = (
        _judged("compute", f"{computed} (the slowest run)", "s", COMPUTE_S, found.compute_s),
        _judged("reported", f"{reported} (the slowest run)", "s", REPORTED_S, found.reported_s),
        _judged("one", f"{one} (the worst run)", "messages", 1, found.sent_for_one),
        _judged("start", f"{start} (the slowest of them)", "s", START_S, found.start_s),
    )
    figures = (
        _one("start.cpu", "CPU time of such a start", "s", found.start_cpu_s),
        _one("played", "until nodes that report at once have done so", "s", found.played_s),
        _one("accepted", "until a change to all is accepted", "s", found.accepted_s),
        _one("effective", "an effective configuration", "bytes", (found.effective_bytes,)),
    )
    return Outcome(measure="config", verdicts=verdicts, figures=figures)


async def run(context: Context) -> Outcome:
    compute_s, size = compute(1 if context.quick else 3)
    context.say(f"{COMPUTED_NODES} nodes computed in {max(compute_s):.2f} s")
    start_s, start_cpu_s = await start_alone(context)
    _, played, _ = await _fleet(context, agents=False)
    accepted, reported, for_one = await _fleet(context, agents=True)
    return summarise(
        ConfigFindings(
            compute_s=tuple(compute_s),
            effective_bytes=size,
            accepted_s=tuple(accepted),
            reported_s=tuple(reported),
            played_s=tuple(played),
            sent_for_one=tuple(for_one),
            start_s=tuple(start_s),
            start_cpu_s=tuple(start_cpu_s),
        )
    )


async def _fleet(context: Context, *, agents: bool) -> tuple[list[float], list[float], list[int]]:
    """Seconds until each change was accepted and reported, and messages for a change to one."""
    folder = context.folder("config-agents" if agents else "config-played")
    async with center(folder) as found:
        if agents:
            argv = farshore(
                "farshore-sim", "run", "--nodes", str(NODES), "--center", found.mqtt_url
            )
        else:
            argv = module("config_nodes", str(found.mqtt_port), str(NODES))
        async with running("nodes", *argv, log=folder / "nodes.log"):
            await found.online(NODES, within_s=120)
            context.say(f"{NODES} {'simulated agents' if agents else 'played nodes'} are online")
            if agents:
                await _gather(found)
                await asyncio.sleep(SETTLE_S)
            accepted, reported = await _to_all(context, found)
            for_one = [await _to_one(found, number) for number in range(3)]
    return accepted, reported, for_one


async def _gather(found: Center) -> None:
    """All of them into one group, as a person would move them."""
    names = [item["name"] for item in (await found.get(f"/api/v1/nodes?limit={NODES}"))["items"]]
    for name in names:
        await found.patch(f"/api/v1/nodes/{name}?parents=true", {"group": GROUP})


def patch(tag: str) -> dict[str, Any]:
    """4 KiB: a document that all layers share, and files of its own."""
    made: dict[str, Any] = {"agent": {"batch_s": 10 + len(tag)}, "files": {}}
    number = 0
    while len(orjson.dumps(made)) < LAYER_BYTES - 40:
        made["files"][f"/etc/{tag}/{number}"] = {"content": f"value {number}", "mode": "0644"}
        number += 1
    return made


def compute(runs: int) -> tuple[list[float], int]:
    """Seconds of each run, and the size of one result."""
    layers: dict[Address, Layer] = {}

    def layer(address: Address, tag: str) -> None:
        layers[address] = Layer(name=address.origin(1), patch=patch(tag))

    layer(DEFAULTS, "all")
    layer(Address("overlay", "gpu"), "gpu")
    places = []
    for number in range(COMPUTED_NODES):
        group = f"g{number % 10}/h{number % 100}/line{number % 1_000}"
        node = f"node-{number}"
        places.append(Place(node=node, group=group, labels={}))
        layer(Address("node", node), f"n{number}")
    for place in places:
        parts = place.group.split("/")
        for depth in range(1, 4):
            address = Address("group", "/".join(parts[:depth]))
            if address not in layers:
                layer(address, address.name.replace("/", "-"))
    fleet = Fleet(
        places=tuple(places), overlays=(("gpu", frozenset(place.node for place in places)),)
    )
    seconds = []
    for _ in range(runs):
        stacks = Stacks(fleet, layers)
        begun = time.perf_counter()
        digests = {stacks.of(place).digest for place in places}
        seconds.append(time.perf_counter() - begun)
        if len(digests) != COMPUTED_NODES:
            raise BenchError(f"{COMPUTED_NODES} configurations expected, got {len(digests)}")
    return seconds, len(Stacks(fleet, layers).of(places[0]).canonical)


async def _to_all(context: Context, found: Center) -> tuple[list[float], list[float]]:
    count = 2 if context.quick else 5
    accepted, reported = [], []
    for number in range(1, count + 1):
        body = {"patch": patch(f"bench-{number}"), "author": "bench"}
        reports = (await found.metrics())["farshore_config_reports_total"]
        begun = time.perf_counter()
        answer = await found.put(f"/api/v1/config/group/{GROUP}", body)
        accepted.append(time.perf_counter() - begun)
        if answer["nodes"] != NODES:
            raise BenchError(f"{NODES} nodes expected to change, got {answer['nodes']}")

        async def look(enough: float = reports + NODES) -> bool | None:
            return await _all_applied(found, enough)

        await found.until(look, "all to report", within_s=60, every_s=POLL_S)
        reported.append(time.perf_counter() - begun)
        context.say(f"a change to all, {number} of {count}: {reported[-1]:.2f} s")
    return accepted, reported


async def _all_applied(found: Center, enough: float) -> bool | None:
    """Whether every node has reported the configuration that the center wants of it; before there
    were so many reports nobody is asked."""
    if (await found.metrics())["farshore_config_reports_total"] < enough:
        return None
    items = (await found.get(f"/api/v1/nodes?limit={NODES}"))["items"]
    configs = [item["config"] for item in items]
    good = [
        config["state"] == "applied"
        and config["reported_rev"] == config["desired_rev"]
        and config["reported_digest"] == config["desired_digest"]
        for config in configs
    ]
    return (len(good) == NODES and all(good)) or None


async def _to_one(found: Center, number: int) -> int:
    """How many messages a change to one node comes to, resends after a while included."""
    items = (await found.get(f"/api/v1/nodes?limit={NODES}"))["items"]
    node = items[number * 331]["name"]
    before = await _sent(found)
    body = {"patch": {"agent": {"heartbeat_s": 31 + number}}, "author": "bench"}
    await found.put(f"/api/v1/config/node/{node}", body)
    await asyncio.sleep(QUIET_S)
    return await _sent(found) - before


async def _sent(found: Center) -> int:
    now = await found.metrics()
    return int(now["farshore_config_sent_total"] + now["farshore_config_sent_again_total"])
