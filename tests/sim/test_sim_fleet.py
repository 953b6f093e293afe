"""A fleet in this process against the real center."""

import asyncio
import functools
import itertools
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from farshore_edge.errors import SettingsError
from farshore_protocol.clock import SystemClock
from farshore_sim.fleet import Fleet, FleetSettings
from farshore_sim.fleet.places import labels, place
from sim.started import DEADLINE_S, Center, center, until, when

pytestmark = pytest.mark.processes


@asynccontextmanager
async def fleet(address: str, nodes: int = 10, **more: Any) -> AsyncIterator[Fleet]:
    settings = FleetSettings(
        nodes=nodes, center=address, sample_interval_s=0.2, batch_s=0.4, backoff_first_s=0.2, **more
    )
    made = Fleet(settings, clock=SystemClock())
    try:
        await made.start()
        yield made
    finally:
        async with asyncio.timeout(DEADLINE_S):
            await made.stop()


async def run_here(center: Center, node: str, *argv: str, **more: Any) -> dict[str, Any]:
    done = await center.command(node=node, verb="exec", args={"argv": list(argv)}, **more)
    target: dict[str, Any] = done["targets"][0]
    return target


async def test_ten_nodes_live_at_the_real_center(tmp_path: Path) -> None:
    async with center(tmp_path / "center") as there:
        async with fleet(there.mqtt) as ten:
            names = ten.names()
            nodes = await there.online(set(names))
            assert len(nodes) == 10
            assert ten.connected() == 10
            assert ten.broken() == []
            for index, name in enumerate(names):
                assert nodes[name]["group"] == place(index)
                assert nodes[name]["labels"] == labels(index)
            await _telemetry_arrives(there, names)
            done = await there.command(all=True, verb="ping", args={})
            states = {target["node"]: target["state"] for target in done["targets"]}
            assert states == dict.fromkeys(names, "succeeded")
            await _exec_touches_nothing(there, names[0], tmp_path)
            made = ten.heads()
        # An orderly stop: the center heard "offline", and has every record.
        await there.offline(set(names))
        assert ten.unsent() == 0
        for name in names:
            books = await there.books(name)
            for stream, head in made[name].items():
                assert books[stream]["accepted"] >= head if head else True
                assert stream not in books or books[stream]["holes"] == []


async def _telemetry_arrives(there: Center, names: list[str]) -> None:
    for name in names:

        async def look(name: str = name) -> bool | None:
            series = (await there.get(f"/nodes/{name}/telemetry", **{"from": "-1m"}))["series"]
            wanted = ("cpu.percent", "mem.used_bytes", "uptime_s")
            return all(len(series.get(each, {"t": []})["t"]) >= 3 for each in wanted) or None

        await until(look, f"series of {name}")


async def _exec_touches_nothing(there: Center, node: str, folder: Path) -> None:
    marker = folder / "marker"
    for argv in (
        ("touch", str(marker)),
        ("/usr/bin/touch", str(marker)),
        ("sh", "-c", f"touch {marker}"),
        ("echo", f"x > {marker}"),
    ):
        target = await run_here(there, node, *argv)
        assert not marker.exists()
        if argv[0] != "echo":
            assert target["state"] == "failed"
            assert target["error"]["code"] == "not_started"
            assert "simulated" in target["error"]["message"]


async def test_simulated_programs(tmp_path: Path) -> None:
    async with center(tmp_path / "center") as there, fleet(there.mqtt, 1) as one:
        (node,) = one.names()
        await there.online({node})

        async def run(*argv: str, **more: Any) -> tuple[Any, ...]:
            target = await run_here(there, node, *argv, **more)
            text = "".join(chunk["text"] for chunk in target["output"])
            return target["state"], (target["result"] or {}).get("exit_code"), text

        assert await run("echo", "a", "b") == ("succeeded", 0, "a b\n")
        assert await run("/bin/hostname") == ("succeeded", 0, f"{node}\n")
        state, code, text = await run("uname", "-a")
        assert (state, code, text.split()[0]) == ("succeeded", 0, "Linux")
        state, code, text = await run("uptime")
        assert (state, code, text[:3]) == ("succeeded", 0, "up ")
        assert await run("true") == ("succeeded", 0, "")
        assert await run("false") == ("failed", 1, "")
        assert await run("sleep", "0.1") == ("succeeded", 0, "")
        assert await run("sleep", "soon") == ("failed", 1, "")
        assert (await run("sleep", "600", timeout_s=1))[0] == "timed_out"


def test_the_same_seed_gives_the_same_facts_and_another_boot() -> None:
    def facts(seed: int) -> tuple[list[dict[str, Any]], list[str]]:
        made = Fleet(FleetSettings(nodes=20, seed=seed), clock=SystemClock())
        agents = [made._make(index, name) for index, name in enumerate(made.names())]
        return [agent._machine.facts() for agent in agents], [agent.boot for agent in agents]

    (one, boots), (again, other_boots), (other, _) = facts(5), facts(5), facts(6)
    assert [_lasting(each) for each in one] == [_lasting(each) for each in again]
    assert one != other
    assert len({*boots, *other_boots}) == 40, "a restart that looks like the boot before it"


def _lasting(facts: dict[str, Any]) -> dict[str, Any]:
    """Without what a start changes: when the machine came up."""
    return {key: value for key, value in facts.items() if "boot" not in key}


async def test_threads_do_not_grow_with_nodes() -> None:
    async def threads(nodes: int) -> int:
        async with fleet("mqtt://127.0.0.1:9", nodes, starts_per_s=1000) as made:
            await when(
                lambda: all(heads.get("reports") for heads in made.heads().values()), "facts of all"
            )
            return threading.active_count()

    before = threading.active_count()
    executor = min(32, (os.cpu_count() or 1) + 4)  # the loop's own, for short blocking calls
    assert await threads(100) <= before + executor < 100


def _has_made(made: Fleet, records: int) -> bool:
    return made.made() >= records


async def test_a_kept_folder_keeps_epochs_and_a_wiped_one_does_not(tmp_path: Path) -> None:
    def epochs(made: Fleet) -> dict[str, Any]:
        return {
            agent.settings.node: {k: v.epoch for k, v in agent._database.streams().items()}
            for agent in made.agents
        }

    seen = []
    for folder in ("a", "a", "b"):  # nobody listens: what is made, waits
        async with fleet("mqtt://127.0.0.1:9", 3, data=tmp_path / folder) as made:
            began = made.made()
            await when(functools.partial(_has_made, made, began + 6), "records")
            seen.append((epochs(made), made.made()))
    (first, made_first), (second, made_second), (wiped, _) = seen
    assert first == second
    assert made_second > made_first, "it goes on counting where it stopped"
    assert all(wiped[node] != first[node] for node in first)


async def test_records_of_two_starts_arrive_once(tmp_path: Path) -> None:
    async with center(tmp_path / "center") as there:
        async with fleet("mqtt://127.0.0.1:9", 2, data=tmp_path / "nodes") as made:
            await when(lambda: made.made() >= 6, "records")  # run in this turn
        before = made.heads()
        async with fleet(there.mqtt, 2, data=tmp_path / "nodes") as again:
            await there.online(set(again.names()))

            async def look() -> bool | None:
                books = {name: await there.books(name) for name in before}
                streams = itertools.chain.from_iterable(
                    ((books[name].get(stream), head) for stream, head in heads.items() if head)
                    for name, heads in before.items()
                )
                return (
                    all(
                        book is not None and book["accepted"] >= head and not book["holes"]
                        for book, head in streams
                    )
                    or None
                )

            await until(look, "the records of the first start")


@pytest.mark.parametrize("address", ["http://127.0.0.1:1883", "mqtt://", "mqtt://h:99999"])
def test_an_address_that_can_not_be_used_is_refused_before_anything_starts(address: str) -> None:
    with pytest.raises(SettingsError, match="center"):
        Fleet(FleetSettings(nodes=3, center=address), clock=SystemClock())
