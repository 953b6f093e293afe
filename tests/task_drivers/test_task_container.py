"""What only the driver ``container`` has: images, users, mounts, ports, an engine that goes."""

import asyncio
import os
import socket
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from farshore_edge.tasks.drivers.container.driver import ContainerDriver
from farshore_edge.tasks.drivers.container.engine import Engine, EngineError, EngineGoneError
from farshore_edge.tasks.drivers.container.owner import numbers
from farshore_edge.tasks.drivers.container.settings import (
    create_body,
)
from farshore_edge.tasks.drivers.model import DriverError, Exit
from farshore_protocol.tasks.settings import Mount, Port
from hypothesis import given
from hypothesis import strategies as st
from task_drivers.container_bench import DEADLINE_S, Bench
from task_drivers.podman import Podman
from task_drivers.rigs import living


@pytest.fixture
async def bench(engine: Podman, tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(engine, tmp_path)
    yield made
    await ContainerDriver(tmp_path, [engine.socket]).sweep(frozenset())


async def test_mounts_users_and_a_root_that_can_t_be_written(bench: Bench) -> None:
    data = bench.folder / "data"
    data.mkdir()
    (data / "model").write_text("weights\n")
    found, said = await bench.end(
        "exec 2>&1;"  # two streams may begin a line each at once
        "cat /data/model; id -u; echo x > /data/model || echo refused; echo x > /etc/x || echo sealed;"
        "echo x > /scratch/new; pwd",
        user="guest",
        workdir="/etc",
        read_only_root=True,
        mounts=(
            Mount(source=str(data), target="/data"),
            Mount(source=str(bench.folder), target="/scratch", read_only=False),
        ),
    )
    lines = said.splitlines()
    assert found.exit_code == 0
    assert "weights" in lines
    assert "1000" in lines
    assert "refused" in lines
    assert "sealed" in lines
    assert "/etc" in lines, said
    assert (data / "model").read_text() == "weights\n"


@pytest.mark.parametrize("user", ["guest", "1000", "1000:1000"])
async def test_its_folder_is_its_user_s(bench: Bench, user: str) -> None:
    """As the supervisor makes it, nobody else may enter it."""
    made = bench.work('pwd; echo 42 > "$FARSHORE_RESULT"', user=user)
    made.folder.chmod(0o700)
    running = await bench.driver.start(made)
    async with asyncio.timeout(DEADLINE_S):
        assert await running.wait() == Exit(exit_code=0), made.output.read_text()
    assert made.output.read_text() == f"{made.folder}\n"
    assert (made.folder / "result").read_text() == "42\n"


async def test_a_user_that_the_image_does_not_know(bench: Bench) -> None:
    made = bench.work("true", user="nobody-here")
    with pytest.raises(DriverError) as refused:
        await bench.driver.start(made)
    assert (refused.value.code, refused.value.permanent) == ("no_user", True)
    assert await bench.driver.adopt(made, {}) is None


@given(st.text())
def test_no_list_of_users_breaks_it(passwd: str) -> None:
    assert numbers("7:8", passwd) == (7, 8)
    assert numbers("7:staff", passwd) == (7, -1)
    assert numbers("app", f"{passwd}\napp:x:5:6::/:/bin/sh") is not None


async def test_what_is_to_be_mounted_must_be_there(bench: Bench) -> None:
    made = bench.work("true", mounts=(Mount(source=str(bench.folder / "no"), target="/data"),))
    with pytest.raises(DriverError) as refused:
        await bench.driver.start(made)
    assert str(bench.folder / "no") in refused.value.detail
    assert await bench.driver.adopt(made, {}) is None


@pytest.mark.parametrize(
    ("pull", "image", "permanent"),
    [
        pytest.param("never", "localhost/nobody/has:this", True, id="never fetched"),
        pytest.param("missing", "127.0.0.1:1/nobody/has:this", False, id="no registry answers"),
    ],
)
async def test_an_image_that_is_not_there(
    bench: Bench, pull: Any, image: str, permanent: bool
) -> None:
    made = bench.work("true", image=image, pull=pull)
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(DriverError) as refused:
            await bench.driver.prepare(made)
    assert (refused.value.code, refused.value.permanent) == ("no_image", permanent)
    assert image in refused.value.detail


async def test_a_published_port_is_reached_from_the_node(bench: Bench) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = bench.work(
        "echo hello | nc -l -p 8000",
        network="bridge",
        ports=(Port(host=port, container=8000, address="127.0.0.1"),),
    )
    running = await bench.driver.start(made)
    async with asyncio.timeout(DEADLINE_S):
        said = b""
        while not said:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                said = await reader.read()
                writer.close()
            except OSError:
                await asyncio.sleep(0.05)
    assert said == b"hello\n"
    await running.stop("SIGTERM", 0)


async def test_the_network_of_the_node_or_none(bench: Bench) -> None:
    script = "readlink /proc/self/ns/net; cat /proc/net/dev"
    _, alone = await bench.end(script, network="none")
    _, shared = await bench.end(script, network="host", id="other.0.7")
    here = os.readlink("/proc/self/ns/net")
    assert shared.splitlines()[0] == here
    assert alone.splitlines()[0] != here
    assert len(alone.splitlines()) == 4  # two lines of titles, and loopback


async def test_another_agent_s_containers_are_left_alone(bench: Bench) -> None:
    made = bench.work("sleep 600")
    running = await bench.driver.start(made)
    other = ContainerDriver(bench.folder / "other", [bench.engine.socket])
    assert await other.sweep(frozenset()) == []
    assert await other.adopt(made, running.trace) is None
    again = await bench.driver.adopt(made, {})
    assert again is not None
    assert again.pid == running.pid
    await running.stop("SIGTERM", 0)


async def test_a_container_outlives_its_engine_s_service(bench: Bench) -> None:
    """Podman has no daemon; Docker's may be restarted under its containers (live-restore)."""
    made = bench.work("echo up; while [ ! -e go ]; do sleep 0.02; done; echo down; exit 4")
    running = await bench.driver.start(made)
    waiting = asyncio.create_task(running.wait())
    bench.engine.kill_service()
    with pytest.raises(DriverError) as refused:
        await bench.driver.sweep(frozenset({made.id}))
    assert refused.value.code == "engine"
    assert await running.usage() is None
    await asyncio.to_thread(bench.engine.serve)
    (made.folder / "go").touch()
    async with asyncio.timeout(DEADLINE_S):
        assert await waiting == Exit(exit_code=4)
    assert made.output.read_text() == "up\ndown\n"


async def test_a_container_that_somebody_removes_ended_unseen(bench: Bench) -> None:
    mark = f"6{time.monotonic_ns() % 10**9}"
    running = await bench.driver.start(bench.work(f"exec sleep {mark}"))
    waiting = asyncio.create_task(running.wait())
    await asyncio.to_thread(bench.engine._command, "rm", "--all", "--force", "--time", "0")
    async with asyncio.timeout(DEADLINE_S):
        ended = await waiting
    assert ended in (Exit(), Exit(signal="SIGKILL"))
    assert living(mark) == []


async def test_a_container_that_was_made_and_never_started_is_nothing(bench: Bench) -> None:
    """The agent died between the two."""
    made = bench.work("sleep 600")
    engine = Engine(bench.engine.socket)
    image = await engine.ask("GET", f"/images/{bench.engine.image}/json")
    body = create_body(made, bench.driver._agent, image, 0)
    query = {"name": bench.driver._container(made.id)}
    await engine.ask("POST", "/containers/create", query=query, body=body)
    assert await bench.driver.adopt(made, {}) is None
    assert bench.engine.containers() == []


async def test_one_that_still_runs_is_not_started_again(bench: Bench) -> None:
    made = bench.work("sleep 600")
    running = await bench.driver.start(made)
    with pytest.raises(DriverError) as refused:
        await bench.driver.start(made)
    assert refused.value.code == "busy"
    await running.stop("SIGTERM", 0)


async def test_a_follower_that_lags_costs_no_output(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine where the engine gets no processor: what it has not told is asked for."""
    running = "farshore_edge.tasks.drivers.container.running"
    monkeypatch.setattr(f"{running}.OUTPUT_S", 0.0)
    for turn in range(3):
        _, said = await bench.end("echo one; echo two; sleep 0.1; echo three", id=f"lag.{turn}.7")
        assert said == "one\ntwo\nthree\n"


async def test_a_follower_that_ends_too_early_costs_no_output(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Podman's does now and then."""
    follow = Engine.stream

    @asynccontextmanager
    async def short(
        engine: Engine, method: str, path: str, query: Any = None, body: Any = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        async with follow(engine, method, path, query, body) as pieces:
            yield _first(pieces) if (query or {}).get("follow") == "1" else pieces

    async def _first(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in pieces:
            yield piece
            return

    monkeypatch.setattr(Engine, "stream", short)
    _, said = await bench.end("echo one; sleep 0.3; echo two; sleep 0.3; echo three")
    assert said == "one\ntwo\nthree\n"


async def test_a_named_device_is_seen_in_its_container(bench: Bench) -> None:
    """A node of the kernel's /dev/zero, under a path that no container has by itself."""
    zero = Path("/dev") / f"farshore-{os.getpid()}-{time.monotonic_ns()}"
    os.mknod(zero, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    try:
        script = f"dd if={zero} bs=3 count=1"
        without, said = await bench.end(script)
        assert without.exit_code != 0, said
        made = bench.work(script, id="suite.0.8")
        running = await bench.driver.start(replace(made, devices={"zero": str(zero)}))
        async with asyncio.timeout(DEADLINE_S):
            assert await running.wait() == Exit(exit_code=0), made.output.read_text()
    finally:
        zero.unlink()


async def test_the_engine_s_own_words_are_told(bench: Bench) -> None:
    engine = Engine(bench.engine.socket)
    with pytest.raises(EngineError) as refused:
        await engine.ask("GET", "/containers/nobody/json")
    assert refused.value.status == 404
    assert "nobody" in refused.value.message
    with pytest.raises(EngineGoneError):
        await Engine(Path("/no/such.sock")).ask("GET", "/version")
