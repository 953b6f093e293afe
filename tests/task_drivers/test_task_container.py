"""What only the driver ``container`` has: images, mounts, ports, engines that are bad or gone."""

import asyncio
import contextlib
import os
import socket
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from farshore_edge.tasks.drivers.container import make
from farshore_edge.tasks.drivers.container.driver import ContainerDriver, host_sockets
from farshore_edge.tasks.drivers.container.engine import Engine, EngineError, EngineGoneError
from farshore_edge.tasks.drivers.container.keeper import read_lease
from farshore_edge.tasks.drivers.container.kernel_log import names, tells_of
from farshore_edge.tasks.drivers.container.output import Frames
from farshore_edge.tasks.drivers.container.owner import numbers, user_of
from farshore_edge.tasks.drivers.container.running import read_exit, read_usage
from farshore_edge.tasks.drivers.container.settings import (
    create_body,
    tagged,
)
from farshore_edge.tasks.drivers.lacking import Lacking
from farshore_edge.tasks.drivers.model import DriverError, Exit, Usage, Work
from farshore_protocol.tasks.settings import ContainerSettings, Mount, Port
from farshore_protocol.tasks.spec import Limits
from hypothesis import given
from hypothesis import strategies as st
from task_drivers.podman import Podman
from task_drivers.rigs import living, work

DEADLINE_S = 180.0


class Bench:
    def __init__(self, engine: Podman, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.driver = ContainerDriver(folder, [engine.socket])

    def work(self, script: str, id: str = "suite.0.7", **more: Any) -> Work:
        settings = ContainerSettings(
            image=self.engine.image, command=["/bin/sh", "-c", script], network="none"
        )
        return work(self.folder, replace(settings, **more), id=id)

    async def end(self, script: str, **more: Any) -> tuple[Exit, str]:
        made = self.work(script, **more)
        await self.driver.prepare(made)
        running = await self.driver.start(made)
        async with asyncio.timeout(DEADLINE_S):
            return await running.wait(), made.output.read_text()


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
        "cat /data/model; id -u; echo x 2>&1 > /data/model || echo refused; echo x > /etc/x || echo sealed;"
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
    assert "/etc" in lines
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


@pytest.mark.parametrize(
    ("asked", "image", "user"),
    [
        (None, {}, None),
        (None, {"Config": {"User": "app"}}, "app"),
        ("root", {"Config": {"User": "app"}}, None),
        ("0:0", {}, None),
        ("7:8", {}, "7:8"),
    ],
)
def test_the_task_s_word_on_the_user_comes_first(asked: str | None, image: Any, user: Any) -> None:
    assert user_of(asked, image) == user


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


# Engines that are no good


@asynccontextmanager
async def bad_engine(folder: Path, answer: bytes | None) -> AsyncIterator[Path]:
    """It always says the same, or nothing at all."""
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer or b"")
            if answer is None:
                await reader.read()
        writer.transport.abort()

    def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.create_task(talk(reader, writer)))

    path = folder / "bad.sock"
    async with await asyncio.start_unix_server(met, str(path)):
        yield path
        await asyncio.gather(*talks)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"SSH-2.0-OpenSSH\r\n", id="it speaks something else"),
        pytest.param(b"", id="it hangs up"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", id="it breaks off"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", id="it says something else"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{", id="it says no JSON"),
        pytest.param(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", id="it refuses"),
    ],
)
async def test_a_bad_engine_is_said_to_be_none(tmp_path: Path, answer: bytes) -> None:
    async with bad_engine(tmp_path, answer) as path:
        why = await ContainerDriver(tmp_path, [path]).available()
    assert why is not None
    assert why.startswith("no container engine answers")


async def test_an_engine_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farshore_edge.tasks.drivers.container.driver.GREET_S", 0.2)
    async with bad_engine(tmp_path, None) as path, asyncio.timeout(DEADLINE_S):
        why = await ContainerDriver(tmp_path, [path]).available()
    assert why is not None
    assert "no answer" in why


async def test_without_an_engine_it_says_where_it_looked(tmp_path: Path) -> None:
    driver = ContainerDriver(tmp_path, [tmp_path / "no.sock"])
    assert str(tmp_path / "no.sock") in str(await driver.available())
    with pytest.raises(DriverError) as refused:
        await driver.prepare(work(tmp_path, ContainerSettings(image="x")))
    assert (refused.value.code, refused.value.permanent) == ("no_engine", False)


async def test_without_its_package_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        __import__("sys").modules, "farshore_edge.tasks.drivers.container.driver", None
    )
    driver = make(tmp_path, {})
    assert isinstance(driver, Lacking)
    assert "farshore-edge[container]" in str(await driver.available())


# Pure


def test_the_node_s_sockets_are_looked_for() -> None:
    env = {"DOCKER_HOST": "unix:///d.sock", "XDG_RUNTIME_DIR": "/run/user/7"}
    assert [str(each) for each in host_sockets(env)][:2] == [
        "/d.sock",
        "/run/user/7/podman/podman.sock",
    ]
    assert Path("/var/run/docker.sock") in host_sockets({"DOCKER_HOST": "tcp://far:2375"})


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("busybox", "busybox:latest"),
        ("host:5000/a/b", "host:5000/a/b:latest"),
        ("host:5000/a/b:1", "host:5000/a/b:1"),
        ("a@sha256:00", "a@sha256:00"),
    ],
)
def test_an_image_without_a_tag_is_the_latest(image: str, expected: str) -> None:
    assert tagged(image) == expected


def test_limits_processors_and_gpus_reach_the_engine(tmp_path: Path) -> None:
    made = work(
        tmp_path,
        ContainerSettings(image="a"),
        limits=Limits(cpu_cores=1.5, memory_bytes=1 << 26, pids=9),
        cpus=(2, 3),
        gpus=(1,),
    )
    body = create_body(made, "agent-1", {"Config": {"WorkingDir": "/app"}}, 12)
    host = body["HostConfig"]
    assert (host["CpuQuota"], host["CpuPeriod"]) == (150_000, 100_000)
    assert host["Memory"] == host["MemorySwap"] == 1 << 26
    assert host["PidsLimit"] == 9
    assert host["CpusetCpus"] == "2,3"
    assert host["DeviceRequests"][0]["DeviceIDs"] == ["1"]
    assert body["WorkingDir"] == "/app"


def test_what_is_the_machine_s_is_the_image_s_in_a_container(tmp_path: Path) -> None:
    made = replace(
        work(tmp_path, ContainerSettings(image="a")),
        env={"PATH": "/opt/agent", "HOME": "/x", "TZ": "CET", "RATE": "5"},
        machine_env=frozenset({"PATH", "HOME"}),
    )
    assert create_body(made, "agent-1", {}, 0)["Env"] == ["TZ=CET", "RATE=5"]


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


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({}, "image"),
        ({"image": ""}, "image"),
        ({"image": "a", "network": "wifi"}, "network"),
        ({"image": "a", "network": "host", "ports": [{"host": 80, "container": 80}]}, "ports"),
        ({"image": "a", "ports": [{"host": 0, "container": 80}]}, "ports"),
        ({"image": "a", "mounts": [{"source": "relative", "target": "/x"}]}, "mounts"),
        ({"image": "a", "pull": "sometimes"}, "pull"),
    ],
)
def test_bad_settings_are_refused_with_their_place(settings: dict[str, Any], where: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=where):
        msgspec.convert(settings, ContainerSettings)


@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(1, 50))
def test_output_is_put_together_from_any_pieces(texts: list[bytes], step: int) -> None:
    wire = b"".join(b"\x01\0\0\0" + len(text).to_bytes(4, "big") + text for text in texts)
    frames = Frames()
    found = [text for at in range(0, len(wire), step) for text in frames.feed(wire[at : at + step])]
    assert found == texts


@pytest.mark.parametrize(
    ("state", "oom", "expected"),
    [
        ({"ExitCode": 0}, False, Exit(exit_code=0)),
        ({"ExitCode": 137}, False, Exit(signal="SIGKILL")),
        ({"ExitCode": 137}, True, Exit(signal="SIGKILL", oom=True)),
        ({"ExitCode": 1, "OOMKilled": True}, False, Exit(exit_code=1, oom=True)),
        ({"ExitCode": 255}, False, Exit(exit_code=255)),
    ],
)
def test_how_a_container_ended(state: dict[str, Any], oom: bool, expected: Exit) -> None:
    assert read_exit(state, oom=oom) == expected


def test_its_use_leaves_out_what_the_kernel_could_drop() -> None:
    memory = {"usage": 100, "stats": {"inactive_file": 40}}
    stats = {"cpu_stats": {"cpu_usage": {"total_usage": 2_000_000_000}}, "memory_stats": memory}
    assert read_usage(stats) == Usage(cpu_s=2.0, memory_bytes=60)
    assert read_usage({}) is None
    assert read_usage(None) is None


def test_the_kernel_s_log_tells_of_the_container_alone(tmp_path: Path) -> None:
    id = "3185b588eeb28c3a9de824016ce6929fcd487da13407acd59148f71f7f2c52c8"
    line = f"6,1,1,-;oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/libpod-{id},task=tail"
    assert names(line, id)
    assert not names(line, id.replace("3", "4"))
    assert not names(line.replace("CONSTRAINT_MEMCG", "CONSTRAINT_NONE"), id)
    assert not names(line, "3")
    log = tmp_path / "kmsg"
    log.write_text(line)
    assert tells_of(id, log)
    assert not tells_of(id, tmp_path / "none")


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


async def test_the_engine_s_own_words_are_told(bench: Bench) -> None:
    engine = Engine(bench.engine.socket)
    with pytest.raises(EngineError) as refused:
        await engine.ask("GET", "/containers/nobody/json")
    assert refused.value.status == 404
    assert "nobody" in refused.value.message
    with pytest.raises(EngineGoneError):
        await Engine(Path("/no/such.sock")).ask("GET", "/version")


# Leases: the agent is dead, and nobody else ends it


def lease_of(folder: Path, stop_s: float, kill_s: float) -> Path:
    """Seconds from now."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    staged = folder / "lease.new"
    staged.write_text(f"{boot} {now_s + stop_s} {now_s + kill_s} {now_s + kill_s}\n")
    return staged.rename(folder / "lease")


async def test_it_ends_with_its_lease_where_no_agent_lives(bench: Bench) -> None:
    lease = lease_of(bench.folder, 600, 600)
    deaf = replace(bench.work("trap '' TERM; echo up; while :; do sleep 0.1; done"), lease=lease)
    running = await bench.driver.start(deaf)
    # Renewed once, then never again: what is left is short.
    lease_of(bench.folder, 0.5, 1.5)
    began_s = time.monotonic()
    async with asyncio.timeout(DEADLINE_S):
        assert await running.wait() == Exit(signal="SIGKILL")
    assert time.monotonic() - began_s >= 1.4, "not before its end"


async def test_it_is_asked_first(bench: Bench) -> None:
    lease = lease_of(bench.folder, 0.2, 600)
    made = bench.work("trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done")
    running = await bench.driver.start(replace(made, lease=lease))
    async with asyncio.timeout(DEADLINE_S):
        assert await running.wait() == Exit(exit_code=3)


async def test_it_ends_with_its_lease_also_without_an_engine(bench: Bench) -> None:
    lease = lease_of(bench.folder, 600, 600)
    mark = f"5{time.monotonic_ns() % 10**9}"
    made = replace(bench.work(f"exec sleep {mark}"), lease=lease)
    running = await bench.driver.start(made)
    bench.engine.kill_service()
    try:
        lease.unlink()
        async with asyncio.timeout(DEADLINE_S):
            while living(mark):  # noqa: ASYNC110 # it is nobody's child here
                await asyncio.sleep(0.05)
    finally:
        await asyncio.to_thread(bench.engine.serve)
    async with asyncio.timeout(DEADLINE_S):
        assert (await running.wait()).signal == "SIGKILL"


async def test_one_keeper_is_enough(bench: Bench) -> None:
    made = replace(bench.work("sleep 600"), lease=lease_of(bench.folder, 600, 600))
    running = await bench.driver.start(made)
    for _ in range(2):
        assert await bench.driver.adopt(made, {}) is not None
    assert len(living(str(made.lease))) == 1
    await running.stop("SIGTERM", 0)
    async with asyncio.timeout(DEADLINE_S):
        while living(str(made.lease)):  # noqa: ASYNC110 # it is nobody's child here
            await asyncio.sleep(0.05)


@given(st.text())
def test_a_lease_that_can_t_be_read_is_over(text: str) -> None:
    assert read_lease(text, "boot") == (0.0, 0.0) or text.split()[0] == "boot"
    assert read_lease("boot 1.5 2.5 3\n", "boot") == (1.5, 2.5)
    assert read_lease("other 1.5 2.5 3\n", "boot") == (0.0, 0.0)
