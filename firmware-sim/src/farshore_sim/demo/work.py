"""The chapters of work: placed with its reasons, and on another node when its own dies."""

import os
import time
from typing import Any

from farshore_sim.demo import views
from farshore_sim.demo.narrator import Narrator
from farshore_sim.demo.stage import WORKERS, Stage

SHOP = "shop"
LOST_AFTER_S = 5.0
DATA_BYTES = 20_000_000_000
FRAME_BYTES = 500_000
LOOP = "while :; do date; sleep 1; done"

Instance = dict[str, Any]


async def place_work(stage: Stage, narrator: Narrator) -> None:
    for node in WORKERS:
        await stage.start_worker(node)

    async def there() -> bool | None:
        # With its facts: what a node has to give is among them.
        nodes = [await stage.api.get(f"/api/v1/nodes/{name}") for name in WORKERS]
        return all(node["state"] == "online" and node["facts"] for node in nodes) or None

    await _known(stage)
    await stage.api.until(there, 60, "the nodes that work to be online with their facts")
    cores = float(os.cpu_count() or 1)
    await _serve(stage, narrator, cores)
    await _batch_at_its_data(stage, narrator)
    await _heavy_batch(stage, narrator, cores)
    await _node_dies(stage, narrator)


async def _known(stage: Stage) -> None:
    """Until the center knows of all; before, it has no page for one."""

    async def look() -> bool | None:
        return {node["name"] for node in await stage.api.nodes()} >= WORKERS.keys() or None

    await stage.api.until(look, 60, "the nodes that work to arrive")


async def _serve(stage: Stage, narrator: Narrator, cores: float) -> None:
    narrator.chapter("Work is placed: a service on the edge, twice")
    await stage.api.put_task(
        SHOP,
        kind="service",
        driver="process",
        run={"argv": ["/bin/sh", "-c", LOOP]},
        count=2,
        requests={"cpu_cores": cores / 2},
        constraint="label.work=yes",
        where="edge",
        spread=[{"over": "node"}],
        stop_grace_s=1,
        # It must never run twice: its node ends it before its lease is over.
        disconnect={"on_disconnect": "stop", "lost_after_s": LOST_AFTER_S},
    )
    running = await _running(stage, SHOP)
    nodes = sorted(each["node"] for each in running)
    narrator.claim(
        nodes == ["line-1", "line-2"],
        f"{SHOP} runs on {' and '.join(nodes)}: one instance on each node of the edge.",
    )


async def _batch_at_its_data(stage: Stage, narrator: Narrator) -> None:
    narrator.chapter("A batch over large data stays where the data lies")
    await _batch(
        stage,
        "video",
        reads=[{"where": "node:line-2", "bytes": DATA_BYTES}],
        run_s=10,
        run={"argv": ["/bin/sh", "-c", 'echo "{\\"frames\\": 7}" > "$FARSHORE_RESULT"']},
    )
    await _told(stage, narrator, "video", "line-2")


async def _heavy_batch(stage: Stage, narrator: Narrator, cores: float) -> None:
    """There is room on both sides: what it takes decides."""
    narrator.chapter("A heavy one goes to the core")
    # All of it is one machine: that the edge is slower is played.
    program = 'case "$FARSHORE_NODE" in core-*) sleep 1;; *) sleep 4;; esac'
    spec: dict[str, Any] = {
        "requests": {"cpu_cores": cores / 4},
        "reads": [{"where": "node:line-1", "bytes": FRAME_BYTES}],
        "run": {"argv": ["/bin/sh", "-c", program]},
    }
    epoch = 0
    for side in ("edge", "core"):
        # A new environment is a new run.
        epoch = await _batch(stage, "model", after=epoch, where=side, env={"RUN": side}, **spec)
    narrator.note("It has run once on each side, so the center knows how long it takes there.")
    await _batch(stage, "model", after=epoch, where="auto", env={"RUN": "auto"}, **spec)
    await _told(stage, narrator, "model", "core-1")


async def _batch(stage: Stage, name: str, *, after: int = 0, **more: Any) -> int:
    """``after``: the epoch of its run before; gives that of this one."""
    await stage.api.put_task(
        name, kind="batch", driver="process", constraint="label.work=yes", **more
    )

    async def over() -> int | None:
        (one,) = await stage.api.instances(name)
        epoch = int(one["epoch"] or 0)
        return epoch if one["state"] == "done" and epoch > after else None

    epoch: int = await stage.api.until(over, 60, f"the batch {name} to be done")
    return epoch


async def _told(stage: Stage, narrator: Narrator, task: str, expected: str) -> None:
    explained = await stage.api.explained(task)
    narrator.show(views.why(explained))
    (instance,) = await stage.api.instances(task)
    result = f", and left {instance['result']}" if instance["result"] else ""
    narrator.claim(instance["node"] == expected, f"{task} was done on {instance['node']}{result}.")


async def _node_dies(stage: Stage, narrator: Narrator) -> None:
    narrator.chapter("A node dies; its work appears elsewhere")
    before = await stage.api.instances(SHOP)
    (moved,) = (each for each in before if each["node"] == "line-1")
    died = next(each for each in stage.programs if each.log.name == "line-1.log")
    stage.programs.remove(died)
    await died.kill()
    died_s = time.monotonic()

    async def elsewhere() -> Instance | None:
        for each in await stage.api.instances(SHOP):
            if each["instance"] == moved["instance"] and each["epoch"] != moved["epoch"]:
                return each if each["state"] == "running" else None
        return None

    after = await stage.api.until(elsewhere, 60, "the instance to run on another node")
    narrator.claim(
        after["node"] == "line-2",
        f"Its agent was killed; instance {after['instance']} runs on {after['node']} after "
        f"{time.monotonic() - died_s:.1f} s, of which {LOST_AFTER_S:g} s are its lease: the old one has "
        "ended by then, by itself.",
    )
    narrator.claim(
        after["epoch"] > moved["epoch"],
        f"Its fencing token grew from {moved['epoch']} to {after['epoch']}.",
    )


async def _running(stage: Stage, task: str) -> list[Instance]:
    async def look() -> list[Instance] | None:
        found = await stage.api.instances(task)
        return found if all(each["state"] == "running" for each in found) else None

    running: list[Instance] = await stage.api.until(look, 60, f"{task} to run")
    return running
