"""Whatever a node's record holds, as long as it can be decoded: recording it never fails."""

import asyncio
import itertools
from contextlib import suppress
from typing import Any

import msgspec
import orjson
import pytest
from center_commands.stage import Stage
from farshore_protocol import codec
from farshore_protocol.commands import CommandReport
from farshore_protocol.errors import MessageError
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(max_size=20)
NUMBERS = st.integers(-1000, 2**53) | st.integers(-(2**80), 2**80)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
STATES = st.sampled_from(["received", "running", "succeeded", "failed", "interrupted", "expired"])
REPORTS = st.fixed_dictionaries(
    {
        "epoch": st.sampled_from(["e1", "e2"]),
        "seq": st.integers(1, 2**53 - 1),
        "boot": st.just("b1"),
        "up_ms": st.just(1),
        "ts": NUMBERS,
        "id": st.sampled_from(["c1", "c2"]),
        "verb": st.text(max_size=200),
        "state": STATES,
        "at": NUMBERS,
        "via": st.lists(st.tuples(STATES, NUMBERS), max_size=3),
        "output": st.lists(
            st.fixed_dictionaries(
                {"offset": NUMBERS, "stream": st.sampled_from(["stdout", "stderr"]), "text": TEXT}
            ),
            max_size=3,
        ),
        "result": st.none() | st.dictionaries(TEXT, VALUES, max_size=3),
        "by_hand": st.none()
        | st.fixed_dictionaries(
            {
                "group": st.none() | TEXT,
                "args": st.none() | st.dictionaries(TEXT, VALUES, max_size=3),
            }
        ),
        "error": st.none() | st.fixed_dictionaries({"code": TEXT, "message": TEXT}),
    }
)


def decoded(wire: Any) -> CommandReport:
    return codec.decode(CommandReport, msgspec.json.encode(wire))


async def show(stage: Stage, command_id: str) -> Any:
    """Through the same encoder as the API."""
    return orjson.loads(orjson.dumps((await stage.service.get(command_id)).document()))


WIRES = st.lists(st.tuples(st.sampled_from(["n1", "n2"]), REPORTS), min_size=1, max_size=6)


async def test_recording_never_fails(stage: Stage) -> None:
    """One database for all examples: the commands of each are its own."""
    loop = asyncio.get_running_loop()
    examples = itertools.count()

    @given(wires=WIRES)
    def holds(wires: list[tuple[str, dict[str, Any]]]) -> None:
        scene = record_and_show(stage, next(examples), wires)
        asyncio.run_coroutine_threadsafe(scene, loop).result(10)

    await asyncio.to_thread(holds)
    assert next(examples) > 10


async def record_and_show(
    stage: Stage, example: int, wires: list[tuple[str, dict[str, Any]]]
) -> None:
    pairs: list[tuple[str, CommandReport]] = []
    for node, wire in wires:
        # What does not decode is refused before it comes here.
        with suppress(MessageError):
            pairs.append((node, decoded(wire | {"id": f"{wire['id']}-{example}"})))
    await stage.report(*pairs)
    for node, report in pairs:
        shown = await show(stage, report.id)
        assert node in [target["node"] for target in shown["targets"]]
        events = await stage.events.list(command=report.id)
        orjson.dumps([event.document() for event in events])


@pytest.mark.parametrize("depth", [200, 400, 700])
async def test_a_deep_result_is_refused_or_kept_or_said_to_be_left_out(
    stage: Stage, depth: int
) -> None:
    deep = b'{"x":' + b"[" * depth + b"]" * depth + b"}"
    wire = (
        b'{"epoch":"e","seq":1,"boot":"b","up_ms":1,"ts":1,"id":"c1","verb":"ping",'
        b'"state":"succeeded","at":1,"result":' + deep + b"}"
    )
    try:
        report = codec.decode(CommandReport, wire)
    except MessageError:
        return  # refused before it comes here
    await stage.report(("n1", report))
    shown = orjson.dumps((await stage.service.get("c1")).document())
    assert deep in shown or b"left_out" in shown


async def test_a_large_output_is_in_the_record_and_not_in_the_event(stage: Stage) -> None:
    output = [{"offset": n * 20_000, "stream": "stdout", "text": "x" * 20_000} for n in range(3)]
    wire = {
        "epoch": "e",
        "seq": 1,
        "boot": "b",
        "up_ms": 1,
        "ts": 1,
        "id": "c1",
        "verb": "exec",
        "state": "running",
        "at": 1,
        "output": output,
    }
    await stage.report(("n1", decoded(wire)))
    event = (await stage.events.list(kind="command.target"))[-1]
    data = orjson.loads(event.data)
    assert (data["output"], data["output_left_out"]) == ([], 3)
    assert len((await show(stage, "c1"))["targets"][0]["output"]) == 3
