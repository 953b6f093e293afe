"""Engines of containers that are bad, hang, or are not there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from farshore_edge.tasks.drivers.container import make
from farshore_edge.tasks.drivers.container.driver import ContainerDriver, host_sockets
from farshore_edge.tasks.drivers.lacking import Lacking
from farshore_edge.tasks.drivers.model import DriverError
from farshore_protocol.tasks.settings import ContainerSettings
from task_drivers.container_bench import DEADLINE_S
from task_drivers.rigs import work


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


def test_the_node_s_sockets_are_looked_for() -> None:
    env = {"DOCKER_HOST": "unix:///d.sock", "XDG_RUNTIME_DIR": "/run/user/7"}
    assert [str(each) for each in host_sockets(env)][:2] == [
        "/d.sock",
        "/run/user/7/podman/podman.sock",
    ]
    assert Path("/var/run/docker.sock") in host_sockets({"DOCKER_HOST": "tcp://far:2375"})
