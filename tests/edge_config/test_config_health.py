"""Each kind of health check, against the real thing."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from farshore_edge.config.health import HostHealth
from farshore_edge.config.programs import HostPrograms
from farshore_protocol.clock import SystemClock
from farshore_protocol.config.documents import HealthDocument


@pytest.fixture
def health() -> HostHealth:
    return HostHealth(HostPrograms(), SystemClock())


class Server:
    """Answers each connection with the next of ``answers``, the last one for ever."""

    def __init__(self) -> None:
        self.answers = [b"HTTP/1.1 200 OK\r\n\r\n"]
        self.asked: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.read(4096))
        writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    listening.close()
    await listening.wait_closed()


async def test_http_is_asked_until_it_is_well(health: HostHealth, server: Server) -> None:
    server.answers = [b"HTTP/1.1 503 no\r\n\r\n", b"", b"HTTP/1.0 204 yes\r\n\r\n"]
    url = f"http://127.0.0.1:{server.port}/well?a=1"
    assert await health.problem(HealthDocument(http=url, interval_s=0.01)) is None
    assert len(server.asked) == 3
    assert server.asked[0].startswith(b"GET /well?a=1 HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 404 no\r\n\r\n", "status 404"),
        (b"SSH-2.0\r\n", "no answer in HTTP"),
        (b"", "no answer in HTTP"),
    ],
)
async def test_http_that_is_not_well(
    health: HostHealth, server: Server, answer: bytes, words: str
) -> None:
    server.answers = [answer]
    url = f"http://127.0.0.1:{server.port}"
    problem = await health.problem(HealthDocument(http=url, within_s=0.01, interval_s=0.1))
    assert problem == f"{words}, 0.01 s after the change"


async def test_tcp(health: HostHealth, server: Server) -> None:
    assert await health.problem(HealthDocument(tcp=f"127.0.0.1:{server.port}")) is None
    closed = HealthDocument(tcp="127.0.0.1:1", within_s=0.01, interval_s=0.1)
    assert "1" in (await health.problem(closed) or "")


async def test_a_file_has_to_be_fresh(health: HostHealth, tmp_path: Path) -> None:
    file = tmp_path / "beat"
    check = HealthDocument(fresh=str(file), max_age_s=60, within_s=0.01, interval_s=0.1)
    assert "No such file" in (await health.problem(check) or "")
    file.touch()
    assert await health.problem(check) is None
    os.utime(file, (time.time() - 100, time.time() - 100))
    assert "written 100 s ago" in (await health.problem(check) or "")


async def test_a_command_is_ended_when_its_time_is_over(health: HostHealth, tmp_path: Path) -> None:
    check = HealthDocument(
        command=["sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 1000"],
        timeout_s=0.2,
        within_s=0.1,
    )
    assert "no answer within 0.2 s" in (await health.problem(check) or "")
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    missing = HealthDocument(command=["/no/such/program"], within_s=0.01)
    assert "No such file" in (await health.problem(missing) or "")


async def test_the_last_words_of_a_program_are_kept_and_bounded() -> None:
    ended = await HostPrograms().run(
        ["sh", "-c", "yes | head -c 100000; echo the end; exit 4"], timeout_s=10
    )
    assert ended.code == 4
    assert ended.output.endswith("the end\n")
    assert len(ended.output) < 10_000
