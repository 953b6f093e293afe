"""The story: nodes arrive, a command reaches all, a link is cut and heals, the books are shown."""

import asyncio
import os
import time
from typing import Any

from rich.console import Console

from farshore_sim.demo import views
from farshore_sim.demo.center import Books
from farshore_sim.demo.cut import cut_and_heal
from farshore_sim.demo.narrator import Narrator
from farshore_sim.demo.processes import one_ended, program
from farshore_sim.demo.stage import HERE, SAMPLE_S, DemoSettings, Stage, set_up
from farshore_sim.demo.work import SHOP, place_work
from farshore_sim.errors import DemoError

LOOK_EVERY_S = 2.0


async def play(settings: DemoSettings) -> bool:
    """Whether everything that was told was true. Cancelled while it stays, it ends as told."""
    narrator = Narrator(Console(highlight=False))
    narrator.console.print("[bold]Farshore[/] — a fleet on this machine, over a real MQTT broker.")
    async with set_up(settings) as stage:
        try:
            await _tell(stage, narrator)
            if settings.stay:
                await _stay(stage, narrator)
        except DemoError as exc:
            narrator.claim(False, str(exc))
        except asyncio.CancelledError:
            narrator.note("Interrupted; everything is stopped.")
            raise
    if narrator.untrue:
        narrator.note(f"Not everything was true ({len(narrator.untrue)}).", "bold red")
    else:
        narrator.note("Everything that was told was true.", "bold green")
    return not narrator.untrue


async def _tell(stage: Stage, narrator: Narrator) -> None:
    await _arrive(stage, narrator)
    await _show_machine(stage, narrator)
    await _command_all(stage, narrator)
    await cut_and_heal(stage, narrator)
    await _show_books(stage, narrator)
    if stage.settings.work:
        await place_work(stage, narrator)
    _check_fleet(stage)
    _invite(stage, narrator)


def _check_fleet(stage: Stage) -> None:
    broken = stage.fleet.broken()
    if broken:
        raise DemoError(f"simulated nodes broke, {len(broken)}: {', '.join(broken[:5])}")


async def _stay(stage: Stage, narrator: Narrator) -> None:
    """Until Ctrl-C, which is its orderly end, or until a program or a node ends by itself: DemoError."""
    narrator.note("It goes on until you press Ctrl-C.")
    try:
        while True:
            await one_ended(stage.programs, within_s=LOOK_EVERY_S)
            _check_fleet(stage)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        narrator.note("Everything is stopped.")


async def _arrive(stage: Stage, narrator: Narrator) -> None:
    narrator.chapter("A center starts, and nodes arrive")
    api = stage.api
    await stage.start_center()
    await api.ready(60)
    narrator.say(f"The center listens at {api.url}, its broker at 127.0.0.1:{stage.mqtt_port}.")
    await stage.proxy.start()
    await stage.start_agent()
    await stage.fleet.start()
    expected = {HERE, *stage.fleet.names()}

    async def look() -> list[dict[str, Any]] | None:
        nodes = await api.nodes()
        online = {node["name"] for node in nodes if node["state"] == "online"}
        return nodes if online >= expected else None

    nodes = await api.until(look, 60, "all nodes to be online")
    narrator.show(views.tree(nodes))
    narrator.claim(
        len(nodes) == len(expected),
        f"{len(nodes)} nodes are online: this machine and {stage.settings.nodes} simulated ones.",
    )


async def _show_machine(stage: Stage, narrator: Narrator) -> None:
    narrator.chapter("This machine is a real node")

    async def look() -> dict[str, Any] | None:
        node: dict[str, Any] = await stage.api.get(f"/api/v1/nodes/{HERE}")
        return node if node["facts"] and node["latest"] else None

    node = await stage.api.until(look, 60, "this machine's facts and first samples")
    for line in views.machine(node):
        narrator.say(line)
    telemetry = await stage.api.get(f"/api/v1/nodes/{HERE}/telemetry", **{"from": "-2m"})
    names = sorted(telemetry["series"])
    narrator.claim(
        "mem.used_bytes" in names,
        f"{len(names)} series are measured, one sample due every {SAMPLE_S:g} s"
        + (f": {names[0]} … {names[-1]}." if names else "."),
    )


async def _command_all(stage: Stage, narrator: Narrator) -> None:
    narrator.chapter("A command to all")
    started_s = time.monotonic()
    command = await stage.api.command(all=True, verb="ping", args={}, ttl_s=60)
    done = await stage.api.done(command["id"], 60)
    answered = sum(target["state"] == "succeeded" for target in done["targets"])
    narrator.claim(
        answered == len(done["targets"]) == stage.settings.nodes + 1,
        f"ping: {answered} of {len(done['targets'])} nodes answered, every result committed "
        f"within {time.monotonic() - started_s:.2f} s.",
    )
    target = await _command_here(stage, "exec", {"argv": ["uname", "-sr"]})
    text = "".join(chunk["text"] for chunk in target["output"]).strip()
    here = os.uname()
    narrator.claim(
        target["state"] == "succeeded" and text == f"{here.sysname} {here.release}",
        f"exec uname -sr on {HERE}: {text or target['state']}",
    )


async def _command_here(stage: Stage, verb: str, args: dict[str, Any]) -> dict[str, Any]:
    command = await stage.api.command(node=HERE, verb=verb, args=args, ttl_s=60)
    done = await stage.api.done(command["id"], 60)
    target: dict[str, Any] = done["targets"][0]
    return target


async def _show_books(stage: Stage, narrator: Narrator) -> None:
    """What the nodes have made by their own count, beside what the center has accepted."""
    narrator.chapter("What the streams' books say")
    status = await _command_here(stage, "status", {})
    if status["state"] != "succeeded":
        raise DemoError(f"status on {HERE}: {status['state']}")
    streams = status["result"]["streams"]
    made = {HERE: {name: queue["head"] for name, queue in streams.items()}, **stage.fleet.heads()}
    rows: Books = {}

    async def look() -> Books | None:
        for node, books in (await stage.api.books()).items():
            if node not in rows and views.holds_all(books, made.get(node, {})):
                rows[node] = books
        return rows if rows.keys() >= made.keys() else None

    await stage.api.until(look, 60, "every record to be accepted")
    narrator.show(views.books({node: rows[node] for node in made}))
    total = sum(count for heads in made.values() for count in heads.values())
    narrator.claim(
        total > 0,
        f"All {total} records that the nodes had made, by their own count, are accepted exactly "
        "once: no hole, no loss.",
    )


def _invite(stage: Stage, narrator: Narrator) -> None:
    narrator.chapter("Try it yourself")
    if not stage.settings.stay:
        narrator.say("Without --exit the fleet goes on, and the commands for it stand here.")
        return
    url, port, farshore = stage.api.url, stage.mqtt_port, _typed("farshore")
    narrator.say("REST")
    narrator.verbatim(f"  curl {url}/api/v1/nodes")
    narrator.say("command line")
    narrator.verbatim(f"  {farshore} --url {url} nodes")
    narrator.verbatim(f"  {farshore} --url {url} run {HERE} exec -- uptime")
    if stage.settings.work:
        narrator.verbatim(f"  {farshore} --url {url} task explain {SHOP}")
    narrator.verbatim(f"  {farshore} --url {url} pool")
    narrator.say("MQTT (mosquitto-clients)")
    narrator.verbatim(f"  mosquitto_sub -p {port} -v -t 'fs1/up/{HERE}/res/+' &")
    narrator.verbatim(f"  mosquitto_pub -p {port} -t fs1/down/{HERE}/cmd/ping -m '{{}}'")
    narrator.say(f"logs and data, until the end: {stage.data}")


def _typed(name: str) -> str:
    """The program as one types it in this folder."""
    path = program(name)
    below = os.path.relpath(path)
    return path if below.startswith("..") else below
