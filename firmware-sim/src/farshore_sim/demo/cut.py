"""The chapter of the cut link: the node goes on measuring, and all of it arrives afterwards."""

import asyncio
import itertools
import time
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn

from farshore_sim.demo import views
from farshore_sim.demo.narrator import Narrator
from farshore_sim.demo.outbox import Waiting, waiting
from farshore_sim.demo.stage import HERE, SAMPLE_S, Stage

SERIES = "uptime_s"
"""Grows with every sample, so each of its values stands for one sample."""


async def cut_and_heal(stage: Stage, narrator: Narrator) -> None:
    cut_s = stage.settings.cut_s
    narrator.chapter(f"The link of {HERE} is cut for {cut_s:g} s; it goes on measuring")
    before_ms = time.time_ns() // 1_000_000
    await stage.proxy.cut()
    cut_at_s = time.monotonic()

    async def gone() -> bool | None:
        return (await stage.api.get(f"/api/v1/nodes/{HERE}"))["state"] == "offline" or None

    await stage.api.until(gone, 60, "the center to see the node offline")
    narrator.claim(True, f"The center saw it go offline after {time.monotonic() - cut_at_s:.1f} s.")
    kept = await _wait_out(stage, narrator, cut_at_s + cut_s)
    # Half of what an idle machine measures, without the batch that is not full yet: a busy
    # machine may pause the agent, which is no fault of the link's.
    enough = max(1, int(cut_s / SAMPLE_S / 2) - 2)
    narrator.claim(
        len(kept.values) >= enough,
        f"{len(kept.values)} samples that it could not send lie in its outbox, on its disk "
        f"(records: {kept.records}).",
    )
    await stage.proxy.heal()
    healed_s = time.monotonic()

    async def back() -> bool | None:
        node = await stage.api.get(f"/api/v1/nodes/{HERE}")
        books = (await stage.api.books()).get(HERE, {})
        held = views.holds_all(books, {"metrics": kept.last_seq})
        return (node["state"] == "online" and held) or None

    await stage.api.until(back, 60, "the backlog to arrive")
    narrator.claim(
        True,
        f"The link is back; the backlog was complete after {time.monotonic() - healed_s:.1f} s.",
    )
    await _check_history(stage, narrator, before_ms, kept)


async def _wait_out(stage: Stage, narrator: Narrator, until_s: float) -> Waiting:
    """Shows the outbox filling; what lies in it at the end."""
    columns = (TextColumn("   link cut"), BarColumn(30), TextColumn("{task.description}"))
    began_s = time.monotonic()
    silent = not narrator.console.is_interactive
    with Progress(*columns, console=narrator.console, transient=True, disable=silent) as progress:
        bar = progress.add_task("", total=until_s - began_s)
        while (now_s := time.monotonic()) < until_s:
            for program in stage.programs:
                program.check()
            text = f"{waiting(stage.outbox, SERIES).records} records in the outbox"
            progress.update(bar, completed=now_s - began_s, description=text)
            await asyncio.sleep(min(0.5, until_s - now_s))
    return waiting(stage.outbox, SERIES)


async def _check_history(stage: Stage, narrator: Narrator, before_ms: int, kept: Waiting) -> None:
    """Whether what lay in the outbox is in the history, sample for sample."""
    needed = {round(value, 3) for value in kept.values}

    async def look() -> dict[str, list[Any]] | None:
        telemetry = await stage.api.get(
            f"/api/v1/nodes/{HERE}/telemetry",
            series=SERIES,
            **{"from": str(before_ms - 60_000), "to": str(time.time_ns() // 1_000_000)},
        )
        series: dict[str, list[Any]] = telemetry["series"].get(SERIES, {"t": [], "v": []})
        return series if needed <= {round(value, 3) for value in series["v"]} else None

    series = await stage.api.until(look, 30, "the outbox's samples to be in the center's history")
    times = [t for t in series["t"] if t >= before_ms]
    pauses_s = [(b - a) / 1000 for a, b in itertools.pairwise(times)]
    once = len(series["v"]) == len(set(series["v"])) == len(set(series["t"]))
    narrator.claim(
        once and bool(needed),
        f"All {len(needed)} are in the center's history, none twice; the longest time between two "
        f"samples since the cut is {max(pauses_s, default=0):.2f} s (one is due every {SAMPLE_S:g} s).",
    )
