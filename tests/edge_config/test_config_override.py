"""A local override: above all others, durable, visible, and never gone unseen."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from edge.edge_bench import eventually
from edge_config.config_bench import Bench, host_parts
from farshore_edge.commands.verbs import Context, config_override
from farshore_edge.commands.verbs.model import Outcome
from farshore_edge.config.simulated import simulated_config
from farshore_protocol.clock import ManualClock
from farshore_protocol.codec import convert
from farshore_protocol.commands.catalogue import ConfigOverrideArgs
from farshore_protocol.config.digest import digest

WHO = {"author": "ada", "reason": "the camera is loose"}


async def ask(bench: Bench, **args: Any) -> Outcome:
    async def emit(_: object) -> None:
        raise AssertionError("it says nothing meanwhile")

    context = Context(timeout_s=10, output_max_bytes=0, emit=emit)
    handler = config_override.override(lambda: bench.service, bench.clock.now_ms)
    return await handler(convert(ConfigOverrideArgs, args), context)


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[[], Bench]]:
    made: list[Bench] = []
    clock = ManualClock()

    def make() -> Bench:
        made.append(Bench(host_parts(tmp_path), clock=clock))
        return made[-1]

    yield make
    for bench in made:
        await bench.stop()


async def test_it_stands_above_all_others_and_in_every_report(start: Callable[[], Bench]) -> None:
    bench = start()
    bench.take(1, {"agent": {"heartbeat_s": 10, "sample_interval_s": 2}})
    await bench.reported(1, "applied")
    outcome = await ask(bench, action="set", config={"agent": {"heartbeat_s": 3}}, ttl_s=60, **WHO)
    assert outcome.state == "succeeded"
    assert bench.live == {"heartbeat_s": 3, "sample_interval_s": 2}
    report = bench.reports()[-1]
    assert report["override"]["author"] == "ada"
    assert report["override"]["expires_ms"] == bench.clock.now_ms() + 60_000
    assert report["effective"] == digest({"agent": {"heartbeat_s": 3, "sample_interval_s": 2}})
    assert report["digest"] == report["running"] != report["effective"]
    [event] = bench.events("override")
    assert (event["action"], event["reason"]) == ("set", "the camera is loose")
    bench.take(2, {"agent": {"heartbeat_s": 20, "sample_interval_s": 4}})
    assert (await bench.reported(2, "applied"))["override"] is not None
    assert bench.live == {"heartbeat_s": 3, "sample_interval_s": 4}
    shown = await ask(bench, action="show")
    assert shown.result is not None
    assert shown.result["override"]["reason"] == "the camera is loose"
    assert (await ask(bench, action="clear")).state == "succeeded"
    assert bench.live == {"heartbeat_s": 20, "sample_interval_s": 4}
    assert [each["action"] for each in bench.events("override")] == ["set", "cleared"]
    assert bench.reports()[-1]["override"] is None


async def test_it_is_kept_over_restarts_and_expires_with_an_event(
    start: Callable[[], Bench],
) -> None:
    bench = start()
    bench.take(1, {"agent": {"heartbeat_s": 10}})
    await bench.reported(1, "applied")
    await ask(bench, action="set", config={"agent": {"heartbeat_s": 3}}, ttl_s=60, **WHO)
    await bench.stop()
    again = start()
    await eventually(lambda: again.live["heartbeat_s"] == 3)
    again.clock.advance(59)
    shown = await ask(again, action="show")
    assert shown.result is not None
    assert shown.result["override"]
    again.clock.advance(2)
    again.take(1, {"agent": {"heartbeat_s": 10}})  # wakes it: its clock stands still by itself
    await eventually(lambda: again.live["heartbeat_s"] == 10)
    await eventually(lambda: again.events("override"))
    assert again.events("override")[0]["action"] == "expired"
    await eventually(lambda: again.reports()[-1]["override"] is None)


async def test_one_that_fails_is_not_set(start: Callable[[], Bench], tmp_path: Path) -> None:
    bench = start()
    bench.take(1, {"agent": {"heartbeat_s": 10}})
    await bench.reported(1, "applied")
    reports = len(bench.reports())
    cases: list[tuple[dict[str, Any], str]] = [
        ({"agent": {"heart": 3}}, "unknown_field"),
        ({"files": {"/etc/x": {"content": ""}}}, "outside_roots"),
        (
            {
                "agent": {"heartbeat_s": 3},
                "health": {"a": {"command": ["false"], "within_s": 0.01}},
            },
            "unhealthy",
        ),
    ]
    for patch, code in cases:
        outcome = await ask(bench, action="set", config=patch, **WHO)
        assert outcome.error is not None
        assert (outcome.state, outcome.error.code) == ("failed", code)
    assert bench.live["heartbeat_s"] == 10
    assert bench.service.override() is None
    assert bench.events("override") == []
    assert len(bench.reports()) == reports


@pytest.mark.parametrize(
    "args",
    [
        {"config": {}},
        {"config": None},
        {"config": {"a": 1}, "author": " "},
        {"config": {"a": 1}, "reason": ""},
        {"config": {"a": "x" * 40_000}},
    ],
)
async def test_arguments_that_do_not_do(start: Callable[[], Bench], args: dict[str, Any]) -> None:
    outcome = await ask(start(), action="set", **{**WHO, **args})
    assert outcome.error is not None
    assert outcome.error.code == "bad_args"


async def test_a_node_that_never_heard_of_a_center_can_have_one(start: Callable[[], Bench]) -> None:
    bench = start()
    outcome = await ask(bench, action="set", config={"agent": {"heartbeat_s": 3}}, **WHO)
    assert outcome.state == "succeeded"
    assert bench.live["heartbeat_s"] == 3
    assert bench.service.revisions() == {}
    report = bench.reports()[-1]
    assert (report["rev"], report["running"], report["state"]) == (0, None, "applied")
    assert report["override"]["author"] == "ada"
    bench.take(1, {"agent": {"sample_interval_s": 9}})
    await bench.reported(1, "applied")
    assert bench.live == {"heartbeat_s": 3, "sample_interval_s": 9}


async def test_a_desired_one_that_failed_under_it_is_tried_without_it() -> None:
    bench = Bench(simulated_config())
    await ask(bench, action="set", config={"agent": {"heartbeat_s": -1}}, **WHO)
    patch = {"files": {"/a": {"template": "{{ labels.x }}"}}}
    bench.take(1, {}, labels={"x": "1"})
    await bench.reported(1, "applied")
    assert (await ask(bench, action="set", config=patch, **WHO)).state == "succeeded"
    bench.take(2, {"agent": {"heartbeat_s": 5}})
    report = await bench.reported(2, "failed")
    assert (report["running_rev"], report["override"]["author"]) == (1, "ada")
    await ask(bench, action="clear")
    await bench.reported(2, "applied")
    assert bench.live["heartbeat_s"] == 5
    await bench.stop()


async def test_clearing_where_there_is_none_asks_nobody(start: Callable[[], Bench]) -> None:
    bench = start()
    assert (await ask(bench, action="clear")).state == "succeeded"
    assert bench.records == []
