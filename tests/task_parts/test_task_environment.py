"""What an instance is told, which processors and GPUs it gets, and how its health is asked."""

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from farshore_edge.tasks.assignment import (
    HostAssigner,
    choose_cpus,
    gpus_present,
    gpus_problem,
    read_cores,
    wanted_cpus,
)
from farshore_edge.tasks.drivers.model import DriverError
from farshore_edge.tasks.environment import environ, gpu_variables
from farshore_edge.tasks.health import HostProbe
from farshore_protocol.tasks import Grant, TaskSpec
from farshore_protocol.tasks.spec import FromConfig, Gpus, HealthCheck, Limits, Requests
from hypothesis import given
from hypothesis import strategies as st

DEADLINE_S = 30.0
CONFIG = {"app": {"rate": 2.5, "name": "é", "on": True, "nothing": None, "a/b": [1, {"x": 2}]}}


def grant(env: dict[str, Any] | None = None, **more: Any) -> Grant:
    spec = TaskSpec(kind="service", driver="process", env=env or {})
    return Grant(task="camera", instance=2, attempt=3, epoch=9, spec=spec, **more)


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("/app/rate", "2.5"),
        ("/app/name", "é"),
        ("/app/on", "true"),
        ("/app/a~1b", '[1,{"x":2}]'),
        ("/app", '{"a/b":[1,{"x":2}],"name":"é","nothing":null,"on":true,"rate":2.5}'),
    ],
)
def test_references_are_resolved(pointer: str, expected: str) -> None:
    found = environ(grant({"A": FromConfig(config=pointer), "B": "as it is"}), CONFIG)
    assert (found["A"], found["B"]) == (expected, "as it is")


@pytest.mark.parametrize("pointer", ["/app/none", "/app/nothing", "/app/rate/deeper"])
def test_a_reference_to_nothing_has_its_default_or_is_an_error(pointer: str) -> None:
    assert environ(grant({"A": FromConfig(config=pointer, default="")}), CONFIG)["A"] == ""
    with pytest.raises(DriverError) as found:
        environ(grant({"A": FromConfig(config=pointer)}), CONFIG)
    assert (found.value.code, found.value.permanent) == ("no_value", False)
    assert pointer in found.value.detail


@pytest.mark.parametrize(
    "env", [{"": "x"}, {"A=B": "x"}, {"FARSHORE_EPOCH": "1"}, {"A": "a\0b"}, {"A": "x" * 10**6}]
)
def test_what_can_t_be_set_is_refused(env: dict[str, str]) -> None:
    with pytest.raises(DriverError) as found:
        environ(grant(env), {})
    assert (found.value.code, found.value.permanent) == ("bad_env", True)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=5))
def test_what_is_let_through_a_process_can_have(env: dict[str, str]) -> None:
    try:
        found = environ(grant(env), {})
    except DriverError:
        return
    assert found == env | gpu_variables(())
    assert all(
        name and "=" not in name and "\0" not in name + value for name, value in found.items()
    )


def test_a_gpu_is_seen_by_whom_it_was_given() -> None:
    found = environ(grant({"CUDA_VISIBLE_DEVICES": "7"}, gpus=(0, 3)), {})
    assert found["CUDA_VISIBLE_DEVICES"] == found["NVIDIA_VISIBLE_DEVICES"] == "0,3"
    found = environ(grant(), {})
    assert (found["CUDA_VISIBLE_DEVICES"], found["NVIDIA_VISIBLE_DEVICES"]) == ("", "void")


# Processors

TWO_THREADS = ((0, 4), (1, 5), (2, 6), (3, 7))


@pytest.mark.parametrize(
    ("count", "taken", "expected"),
    [
        pytest.param(2, (), (3, 7), id="a whole core, the highest"),
        pytest.param(4, (3, 7), (1, 2, 5, 6), id="whole cores that are free"),
        pytest.param(1, (), (3,), id="one thread of the highest core"),
        pytest.param(1, (7,), (3,), id="of a core that is broken into already"),
        pytest.param(3, (7,), (2, 3, 6), id="a whole core, and what is left of another"),
        pytest.param(8, (), (0, 1, 2, 3, 4, 5, 6, 7), id="all"),
        pytest.param(8, (0,), None, id="more than are free"),
    ],
)
def test_processors_are_chosen(
    count: int, taken: tuple[int, ...], expected: tuple[int, ...] | None
) -> None:
    assert choose_cpus(count, TWO_THREADS, frozenset(taken)) == expected


@given(st.integers(0, 9), st.frozensets(st.integers(0, 7)))
def test_the_choice_is_free_and_of_the_right_number(count: int, taken: frozenset[int]) -> None:
    chosen = choose_cpus(count, TWO_THREADS, taken)
    free = set(range(8)) - taken
    if chosen is None:
        assert count > len(free)
    else:
        assert len(set(chosen)) == len(chosen) == count
        assert set(chosen) <= free


def test_cores_are_read_from_the_kernel_s_lists() -> None:
    told = {0: "0,2\n", 1: "1,3", 2: "0,2", 3: "1,3", 4: None, 5: "not a list"}
    assert read_cores(range(6), told.get) == ((0, 2), (1, 3), (4,), (5,))
    assert read_cores([0, 1], {0: "0-1", 1: "0-1"}.get) == ((0, 1),)
    assert read_cores([1], {1: "0-1"}.get) == ((1,),), "0 is not the agent's to give"


@given(st.floats(0, 100))
def test_as_many_as_are_asked_for_rounded_up(cores: float) -> None:
    spec = TaskSpec(
        kind="service",
        driver="process",
        requests=Requests(cpu_cores=cores),
        limits=Limits(pin_cpus=True),
    )
    assert wanted_cpus(spec) == max(1, math.ceil(cores))


def test_this_machine_gives_what_it_has_and_no_more() -> None:
    spec = TaskSpec(kind="service", driver="process", limits=Limits(pin_cpus=True))
    first = HostAssigner().cpus(spec, frozenset())
    assert len(first) == 1
    with pytest.raises(DriverError) as found:
        HostAssigner().cpus(spec, frozenset(range(4096)))
    assert (found.value.code, found.value.permanent) == ("no_cpus", False)
    assert HostAssigner().cpus(TaskSpec(kind="service", driver="process"), frozenset()) == ()


# GPUs


@pytest.mark.parametrize(
    ("wanted", "given", "held", "problem"),
    [
        pytest.param(Gpus(count=2), (0, 1), [], None, id="two whole ones"),
        pytest.param(Gpus(milli=500), (0,), [(Gpus(milli=500), (0,))], None, id="two halves"),
        pytest.param(Gpus(milli=501), (0,), [(Gpus(milli=500), (0,))], "500", id="too much"),
        pytest.param(Gpus(count=1), (0,), [(Gpus(milli=1), (0,))], "in use", id="not whole"),
        pytest.param(Gpus(milli=1), (0,), [(Gpus(count=1), (0,))], "1000", id="another's"),
        pytest.param(Gpus(count=1), (), [], "expected 1", id="none given"),
        pytest.param(Gpus(), (0,), [], "expected 0", id="none asked for"),
        pytest.param(Gpus(count=2), (1, 1), [], "different", id="one twice"),
        pytest.param(Gpus(count=1), (2,), [], "has 2", id="one that is not there"),
        pytest.param(Gpus(count=1), (1,), [(Gpus(count=1), (0,))], None, id="beside another"),
    ],
)
def test_a_gpu_is_not_given_twice(
    wanted: Gpus, given: tuple[int, ...], held: Any, problem: str | None
) -> None:
    found = gpus_problem(wanted, given, held, present=2)
    assert found is None if problem is None else problem in str(found)


def test_the_kernel_s_gpus_are_counted(tmp_path: Path) -> None:
    assert gpus_present(tmp_path) is None
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert gpus_present(tmp_path) == 2


# Health


async def ask(folder: Path, env: dict[str, str] | None = None, **check: Any) -> str | None:
    async with asyncio.timeout(DEADLINE_S):
        return await HostProbe().problem(HealthCheck(**check), folder, env or {})


async def test_a_command_is_asked_in_the_task_s_folder_and_environment(tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    script = 'test -e here && test "$A" = b'
    assert await ask(tmp_path, {"A": "b"}, command=["/bin/sh", "-c", script]) is None
    said = await ask(tmp_path, command=["/bin/sh", "-c", f"{script} || {{ echo no A; exit 3; }}"])
    assert said == "exit code 3: no A"
    assert "No such file" in str(await ask(tmp_path, command=["/no/such"]))


async def test_a_command_that_hangs_is_given_up(tmp_path: Path) -> None:
    said = await ask(tmp_path, command=["/bin/sleep", "600"], timeout_s=0.2)
    assert said == "no answer within 0.2 s"


async def test_ports_and_pages_are_asked(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if line:
            writer.write(
                b"HTTP/1.1 503 No\r\n\r\n" if b"/bad" in line else b"HTTP/1.1 200 OK\r\n\r\n"
            )
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        assert await ask(tmp_path, tcp=f"127.0.0.1:{port}") is None
        assert await ask(tmp_path, http=f"http://127.0.0.1:{port}/good") is None
        assert await ask(tmp_path, http=f"http://127.0.0.1:{port}/bad") == "status 503"
    assert await ask(tmp_path, tcp=f"127.0.0.1:{port}") is not None
    assert await ask(tmp_path, tcp="no port") is not None
