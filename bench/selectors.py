"""How long a selector takes over 10,000 nodes with the facts of a real host, through SQL.

The facts are this machine's, as the agent tells them, made different from node to node where nodes
differ: names, addresses, sizes, versions. Each selector is asked as the center asks it: its text is
read, then the database, by the center's own pool of readers; the names are what counts as answer.
"""

import asyncio
import copy
import gc
import random
import time
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from farshore_center.db.database import Database
from farshore_center.nodes import store
from farshore_center.selectors import Subject, find, matches, parse
from farshore_edge.facts.host import host_facts

from bench.context import Context
from bench.model import Figure, Outcome, Runs, Verdict

NODES = 10_000
PROMISED_MS = 50.0
SELECTORS = {
    "everything": "all",
    "a subtree": "group:eu/**",
    "the reference": "group:eu/** and label.env=prod and fact.mem.total_bytes>=4e9 and not state=offline",
    "a flag in a list": "fact.cpu.flags=avx2 and has(fact.disks)",
    "a glob over different texts": "fact.hostname~*[02468]? and node:n-*5",
    "ordered numbers": "fact.mem.total_bytes>8e9 and fact.cpu.cores_logical<=8",
    "nobody has it": "label.none=x or fact.none.of.it=4",
    "unequal": "label.env!=prod and fact.os.version!=12",
    "a regular expression": 'fact.hostname=~"host-[0-9]*7"',
    "a subnet": "fact.interfaces.addresses within 10.16.0.0/12",
    "a subnet of IPv6": "fact.interfaces.addresses within fd00:1::/32",
    "nested": "(label.env in (prod, stage) or label.line>=7) and not (fact.arch=aarch64 "
    "and fact.mem.total_bytes<2e9) and not group:us/**",
}


async def run(context: Context) -> Outcome:
    folder = context.folder("selectors")
    database = Database(f"sqlite:///{folder / 'center.db'}")
    await database.start()
    try:
        context.say(f"{NODES:,} nodes with the facts of this host are written")
        fleet = nodes(random.Random(1), host_facts())  # noqa: S311 # the same fleet every time
        write_s = await _write(database, fleet)
        gc.collect()
        gc.freeze()  # no center has the facts of a fleet in memory; collecting them is not measured
        rounds = 5 if context.quick else 20
        context.say(f"{len(SELECTORS)} selectors, {rounds} times each")
        asked = [await _ask(database, *each, rounds) for each in SELECTORS.items()]
        predicate = await asyncio.to_thread(_predicate, fleet)
        facts = await _report_again(database, fleet)
    finally:
        gc.unfreeze()
        await database.stop()
    worst, its_cpu = max(asked, key=lambda pair: pair[0].runs.median)
    verdict = Verdict(
        name="selectors.sql",
        what=f"a selector over {NODES:,} nodes, the slowest of {len(SELECTORS)} by its median",
        unit="ms",
        promised=PROMISED_MS,
        measured=worst.runs.median,
        sides=(worst, its_cpu),
    )
    size = await asyncio.to_thread(_bytes, folder) / 2**20
    return Outcome(
        measure="selectors",
        verdicts=(verdict,),
        figures=(
            *(figure for figure, _ in asked),
            predicate,
            facts,
            _figure("write", f"{NODES:,} nodes and their facts written", "s", write_s),
            _figure("database", "the database file, facts and values", "MiB", size),
        ),
    )


def nodes(rng: random.Random, host: dict[str, Any]) -> list[dict[str, Any]]:
    """Documents of nodes; what differs in a fleet differs here."""
    return [_node(rng, number, copy.deepcopy(host)) for number in range(NODES)]


def _node(rng: random.Random, number: int, facts: dict[str, Any]) -> dict[str, Any]:
    facts["hostname"] = f"host-{number:05}"
    for unique in ("machine_id_hash", "boot_id"):
        facts[unique] = f"{rng.getrandbits(128):032x}"
    facts["arch"] = rng.choice(["x86_64", "aarch64", "armv7l"])
    facts["mem"] = {"total_bytes": rng.choice([1, 2, 4, 8, 16]) * 10**9 + rng.randrange(10**6)}
    facts["os"] = {**facts.get("os", {}), "version": rng.choice(["11", "12", "13"])}
    facts["kernel"] = {**facts.get("kernel", {}), "release": f"6.{rng.randrange(18)}.{number % 60}"}
    processor = {"cores_logical": rng.choice([2, 4, 8, 16])}
    facts["cpu"] = {**facts.get("cpu", {}), **processor}
    for at, interface in enumerate(facts.get("interfaces", [])):
        interface["mac"] = f"02:{rng.getrandbits(40):010x}"
        if at == 0:
            interface["addresses"] = [
                f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}",
                f"fd00:{rng.randrange(4):x}::{rng.getrandbits(16):x}",
                f"fe80::{rng.getrandbits(16):x}:{rng.getrandbits(16):x}",
            ]
    group = f"{rng.choice(['eu', 'us'])}/site{rng.randrange(20)}/line{rng.randrange(5)}"
    return {
        "name": f"n-{number:05}",
        "group": group,
        "state": "online" if rng.random() < 0.9 else "offline",
        "labels": {"env": rng.choice(["prod", "stage", "test"]), "line": str(rng.randrange(10))},
        "facts": facts,
    }


def _row(node: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": node["name"],
        "group_path": node["group"],
        "group_by": "node",
        "labels": orjson.dumps(node["labels"]),
        "labels_by": "node",
        "online": node["state"] == "online",
        "capabilities": b"{}",
        "queue": b"{}",
        "heartbeat_s": 30.0,
        "created_ms": 1,
        "revision": 1,
    }


async def _write(database: Database, fleet: list[dict[str, Any]]) -> float:
    """In portions of 250, as ingest commits them."""
    started = time.perf_counter()
    for start in range(0, len(fleet), 250):
        part = fleet[start : start + 250]
        rows = [_row(node) for node in part]
        await database.write(partial(store.upsert, rows=rows))
        await _report(database, part)
    return time.perf_counter() - started


async def _report(database: Database, part: list[dict[str, Any]]) -> None:
    found = [(node["name"], "digest", node["facts"]) for node in part]
    await database.write(lambda connection: store.set_facts(connection, found, 1))


async def _report_again(database: Database, fleet: list[dict[str, Any]]) -> Figure:
    """What a node costs that reports facts of which one has changed."""
    part = fleet[:250]
    for node in part:
        node["facts"]["boot_id"] = f"again-{node['name']}"
    started = time.perf_counter()
    await _report(database, part)
    each_ms = (time.perf_counter() - started) * 1000 / len(part)
    return _figure("changed", "facts of a node written, one of them new", "ms", each_ms)


async def _ask(database: Database, what: str, text: str, rounds: int) -> tuple[Figure, Figure]:
    """How long it takes, and how much of that is this process's work: a busy machine makes the
    first longer, not the second."""
    times_ms, cpu_ms = [], []
    for _ in range(rounds):
        started, worked = time.perf_counter(), time.process_time()
        selector = parse(text)
        await database.read(partial(find, selector=selector))
        times_ms.append((time.perf_counter() - started) * 1000)
        cpu_ms.append((time.process_time() - worked) * 1000)
    name = what.removeprefix("a ").replace(" ", "_")
    return (
        _figure(name, f"{what}: {text}", "ms", *times_ms),
        _figure(f"{name}.cpu", "CPU time of the same", "ms", *cpu_ms),
    )


def _predicate(fleet: list[dict[str, Any]]) -> Figure:
    """The same question of one node after another, in memory; the reading of facts not counted."""
    subjects = [Subject.of(node) for node in fleet]
    selector = parse(SELECTORS["the reference"])
    times_ms = []
    for _ in range(3):
        started = time.perf_counter()
        sum(matches(selector, subject) for subject in subjects)
        times_ms.append((time.perf_counter() - started) * 1000)
    return _figure("predicate", "the reference by the predicate, in memory", "ms", *times_ms)


def _figure(name: str, what: str, unit: str, *values: float) -> Figure:
    return Figure(name=f"selectors.{name}", what=what, unit=unit, runs=Runs.of(values))


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
