"""The story: nodes arrive, a command reaches all, a link is cut and heals, the books are shown."""

import asyncio
import contextlib
import itertools
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farshore_protocol.clock import SystemClock
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from farshore_sim.demo import views
from farshore_sim.demo.center import CenterApi
from farshore_sim.demo.narrator import Narrator
from farshore_sim.demo.outbox import waiting_records
from farshore_sim.demo.processes import Program, free_port
from farshore_sim.errors import DemoError
from farshore_sim.faults import TcpProxy
from farshore_sim.fleet import Fleet, FleetSettings

HERE = "this-machine"
SAMPLE_S = 0.5
BATCH_S = 1.0
SERIES = "uptime_s"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """``stay``: whether to go on until Ctrl-C when the story is told."""

    nodes: int = 12
    cut_s: float = 20.0
    stay: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that the story plays with."""

    settings: DemoSettings
    data: Path
    api: CenterApi
    mqtt_port: int
    fleet: Fleet
    proxy: TcpProxy
    programs: list[Program]


async def play(settings: DemoSettings) -> bool:
    """Whether everything that was told was true."""
    narrator = Narrator(Console(highlight=False))
    narrator.console.print("[bold]Farshore[/] — a fleet on this machine, over a real MQTT broker.")
    async with _stage(settings) as stage:
        try:
            await _arrive(stage, narrator)
            await _show_machine(stage, narrator)
            await _command_all(stage, narrator)
            await _cut_and_heal(stage, narrator)
            await _show_books(stage, narrator)
        except DemoError as exc:
            narrator.claim(False, str(exc))
        _addresses(stage, narrator)
        if settings.stay:
            narrator.console.print("\nIt goes on until you press [bold]Ctrl-C[/].")
            await asyncio.Event().wait()
    if narrator.untrue:
        narrator.console.print(f"\n[bold red]Not everything was true ({len(narrator.untrue)}).[/]")
    else:
        narrator.console.print("\n[bold green]Everything that was told was true.[/]")
    return not narrator.untrue


@contextlib.asynccontextmanager
async def _stage(settings: DemoSettings) -> AsyncIterator[Stage]:
    """Sets everything up, and takes all of it down again, whatever happens."""
    data = Path(tempfile.mkdtemp(prefix="farshore-demo-"))
    http_port, mqtt_port = free_port(8080), free_port(1883)
    programs: list[Program] = []
    api = CenterApi(f"http://127.0.0.1:{http_port}", programs)
    proxy = TcpProxy("127.0.0.1", mqtt_port)
    fleet = Fleet(
        FleetSettings(
            nodes=settings.nodes,
            center=f"mqtt://127.0.0.1:{mqtt_port}",
            sample_interval_s=1,
            batch_s=2,
        ),
        clock=SystemClock(),
    )
    stage = Stage(
        settings=settings,
        data=data,
        api=api,
        mqtt_port=mqtt_port,
        fleet=fleet,
        proxy=proxy,
        programs=programs,
    )
    try:
        yield stage
    finally:
        await fleet.stop()
        for program in reversed(programs):
            await program.stop()
        await proxy.stop()
        await api.close()
        shutil.rmtree(data, ignore_errors=True)


async def _arrive(stage: Stage, narrator: Narrator) -> None:
    narrator.chapter("A center starts, and nodes arrive")
    api, data = stage.api, stage.data
    stage.programs.append(
        await Program.start(
            "farshore-center",
            *("run", "--dev", "--data", str(data / "center")),
            *("--http", api.url.removeprefix("http://"), "--mqtt", f"127.0.0.1:{stage.mqtt_port}"),
            log=data / "center.log",
        )
    )
    await api.ready(30)
    narrator.say(f"The center listens at {api.url}, its broker at 127.0.0.1:{stage.mqtt_port}.")
    await stage.proxy.start()
    stage.programs.append(
        await Program.start(
            "farshore-agent",
            *("run", "--dev", "--node", HERE, "--group", "eu/hamburg"),
            *("--label", "env=demo", "--data", str(data / "agent")),
            *("--center", f"mqtt://127.0.0.1:{stage.proxy.port}"),
            *("--sample-interval-s", str(SAMPLE_S), "--batch-s", str(BATCH_S)),
            *("--backoff-first-s", "0.5", "--backoff-max-s", "2"),
            log=data / "agent.log",
        )
    )
    await stage.fleet.start()
    expected = {HERE, *stage.fleet.names()}

    async def look() -> list[dict[str, Any]] | None:
        nodes = await api.nodes()
        online = {node["name"] for node in nodes if node["state"] == "online"}
        return nodes if online >= expected else None

    nodes = await api.until(look, 30, "all nodes to be online")
    narrator.console.print(views.tree(nodes))
    narrator.claim(
        len(nodes) == len(expected),
        f"{len(nodes)} nodes are online: this machine and {stage.settings.nodes} simulated ones.",
    )


async def _show_machine(stage: Stage, narrator: Narrator) -> None:
    narrator.chapter("This machine is a real node")

    async def look() -> dict[str, Any] | None:
        node: dict[str, Any] = await stage.api.get(f"/api/v1/nodes/{HERE}")
        return node if node["facts"] and node["latest"] else None

    node = await stage.api.until(look, 15, "this machine's facts and first samples")
    for line in views.machine(node):
        narrator.say(line)
    telemetry = await stage.api.get(f"/api/v1/nodes/{HERE}/telemetry", **{"from": "-1m"})
    names = sorted(telemetry["series"])
    narrator.claim(
        "mem.used_bytes" in names,
        f"{len(names)} series are measured every {SAMPLE_S:g} s, from {names[0]} to {names[-1]}.",
    )


async def _command_all(stage: Stage, narrator: Narrator) -> None:
    narrator.chapter("A command to all")
    started = time.monotonic()
    command = await stage.api.command(all=True, verb="ping", args={}, ttl_s=30)
    done = await stage.api.done(command["id"], 30)
    answered = sum(target["state"] == "succeeded" for target in done["targets"])
    narrator.claim(
        answered == stage.settings.nodes + 1,
        f"ping: {answered} of {len(done['targets'])} nodes answered, every result committed "
        f"within {time.monotonic() - started:.2f} s.",
    )
    command = await stage.api.command(node=HERE, verb="exec", args={"argv": ["uname", "-sr"]})
    done = await stage.api.done(command["id"], 30)
    (target,) = done["targets"]
    text = "".join(chunk["text"] for chunk in target["output"]).strip()
    narrator.claim(target["state"] == "succeeded", f"exec uname -sr on {HERE}: {text}")


async def _cut_and_heal(stage: Stage, narrator: Narrator) -> None:
    cut_s = stage.settings.cut_s
    narrator.chapter(f"The link of {HERE} is cut for {cut_s:g} s; it goes on measuring")
    api, outbox = stage.api, stage.data / "agent" / "agent.db"
    before_ms = time.time_ns() // 1_000_000
    await stage.proxy.cut()
    cut_at = time.monotonic()

    async def gone() -> bool | None:
        return (await api.get(f"/api/v1/nodes/{HERE}"))["state"] == "offline" or None

    await api.until(gone, 10, "the center to see the node offline")
    narrator.claim(True, f"The center saw it go offline after {time.monotonic() - cut_at:.1f} s.")
    waiting = await _wait_out(stage, narrator, cut_at + cut_s, outbox)
    made_at_least = int(cut_s / BATCH_S * 0.7)
    narrator.claim(
        waiting >= made_at_least,
        f"{waiting} records were measured meanwhile; they lie in its outbox, on its disk.",
    )
    await stage.proxy.heal()
    healed = time.monotonic()

    async def back() -> dict[str, Any] | None:
        books = await api.streams(HERE)
        online = (await api.get(f"/api/v1/nodes/{HERE}"))["state"] == "online"
        return books if online and views.complete(books) and waiting_records(outbox) < 3 else None

    await api.until(back, 60, "the backlog to arrive")
    narrator.claim(
        True, f"The link is back; the backlog was complete after {time.monotonic() - healed:.1f} s."
    )
    after_ms = time.time_ns() // 1_000_000
    await _check_gap(stage, narrator, before_ms, after_ms)


async def _wait_out(stage: Stage, narrator: Narrator, until_s: float, outbox: Path) -> int:
    """Shows the outbox filling; how many records lie in it at the end."""
    columns = (TextColumn("   link cut"), BarColumn(40), TextColumn("{task.description}"))
    began = time.monotonic()
    with Progress(*columns, console=narrator.console, transient=True) as progress:
        bar = progress.add_task("", total=until_s - began)
        while (now := time.monotonic()) < until_s:
            stage.programs[0].check()
            text = f"{waiting_records(outbox)} records wait in the outbox"
            progress.update(bar, completed=now - began, description=text)
            await asyncio.sleep(min(0.5, until_s - now))
    return waiting_records(outbox)


async def _check_gap(stage: Stage, narrator: Narrator, before_ms: int, after_ms: int) -> None:
    telemetry = await stage.api.get(
        f"/api/v1/nodes/{HERE}/telemetry",
        series=SERIES,
        **{"from": str(before_ms), "to": str(after_ms)},
    )
    times = telemetry["series"][SERIES]["t"]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    span_s = (times[-1] - times[0]) / 1000
    narrator.claim(
        bool(gaps)
        and max(gaps) < 3 * SAMPLE_S * 1000
        and span_s > stage.settings.cut_s * 0.9
        and len(set(times)) == len(times),
        f"{len(times)} samples of those {span_s:.0f} s are in the center's history, none twice, "
        f"none more than {max(gaps, default=0) / 1000:.2f} s after the one before.",
    )


async def _show_books(stage: Stage, narrator: Narrator) -> None:
    narrator.chapter("What the streams' books say")
    names = [HERE, *stage.fleet.names()]

    async def look() -> list[tuple[str, dict[str, dict[str, Any]]]] | None:
        rows = [(name, await stage.api.streams(name)) for name in names]
        return rows if all(views.complete(streams) for _, streams in rows) else None

    rows = await stage.api.until(look, 30, "every record to be accepted")
    narrator.console.print(views.books(rows))
    total = sum(book["head"] for _, streams in rows for book in streams.values())
    narrator.claim(
        total > 0,
        f"All {total} records that the nodes made are accepted exactly once: no hole, no loss.",
    )


def _addresses(stage: Stage, narrator: Narrator) -> None:
    url, port = stage.api.url, stage.mqtt_port
    narrator.chapter("Try it yourself")
    narrator.say(f"REST          curl {url}/api/v1/nodes")
    narrator.say(f"command line  .venv/bin/farshore --url {url} nodes")
    narrator.say(f"              .venv/bin/farshore --url {url} run {HERE} exec -- uptime")
    narrator.say(f"MQTT          mosquitto_sub -p {port} -v -t 'fs1/up/{HERE}/res/+' &")
    narrator.say(f"              mosquitto_pub -p {port} -t fs1/down/{HERE}/cmd/ping -m '{{}}'")
    narrator.say(f"logs          {stage.data}")
