"""The page tells every fault of links, every option and every word; the command does what it says."""

import asyncio
import re
import sys
from pathlib import Path

import pytest
import typer
from farshore_protocol.clock import ManualClock
from farshore_sim.cli import app
from farshore_sim.faults.clock import ClockFault, FaultyClock, Jump
from farshore_sim.faults.clock import read as read_clock
from farshore_sim.faults.errors import FaultError
from farshore_sim.faults.link_words import ACTIONS, FAULTS

PAGE = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
BIN = Path(sys.executable).parent


def test_every_fault_and_every_word_stands_on_the_page() -> None:
    for name, word in FAULTS.items():
        assert f"| `{word.kind.__name__}` | `{name}` |" in PAGE
    for name in ACTIONS:
        assert f"`{name}`" in PAGE


def test_every_option_stands_on_the_page_and_no_other() -> None:
    command = typer.main.get_command(app).commands["proxy"]  # type: ignore[attr-defined] # a group
    section = PAGE.partition("### `farshore-sim proxy`")[2].partition("\n### ")[0]
    options = {option for each in command.params for option in each.opts} - {"--help"}
    assert options == set(re.findall(r"--[a-z][a-z-]+", section))


async def test_the_command_is_a_link_that_is_changed_by_typing() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    to = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    process = await asyncio.create_subprocess_exec(
        *(str(BIN / "farshore-sim"), "proxy", "--listen", "127.0.0.1:0", "--to", to),
        *("--half-open", "up"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            first = (await process.stdout.readline()).decode()
            port = int(re.findall(r"127\.0\.0\.1:(\d+)", first)[0])
            process.stdin.write(b"show\nnonsense\nclear\nshow\n")
            said = [(await process.stdout.readline()).decode() for _ in range(7)]
            assert said[1:3] == ["up: half-open\n", "down: as it is\n"]
            assert said[3].startswith("not done: 'nonsense': expected one of half-open")
            assert said[5] == "up: as it is\n"
            process.stdin.close()  # the link stays
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"here")
            assert await reader.readexactly(4) == b"here"
            writer.close()
            process.terminate()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        server.close()


def test_a_clock_from_words() -> None:
    assert read_clock("1970") == ClockFault(from_1970=True)
    fault = read_clock("+1h,-500ms, -2h@3.5")
    assert fault == ClockFault(offset_s=3599.5, jumps=(Jump(at_s=3.5, by_s=-7200.0),))


@pytest.mark.parametrize("words", ["", "1971", "+10", "-2h@", "-2h@x", "1970@3", "10y"])
def test_a_clock_that_is_no_clock_is_told(words: str) -> None:
    with pytest.raises(FaultError, match="expected 1970"):
        read_clock(words)


def test_a_faulty_clock_is_off_and_jumps_and_its_monotonic_clock_is_right() -> None:
    true = ManualClock()
    clock = FaultyClock(read_clock("1970,+1m@2,-10s@3"), true=true)
    assert clock.now_ms() == 0
    true.advance(2)
    assert clock.now_ms() == 62_000
    true.advance(1)
    assert clock.now_ms() == 53_000
    assert clock.monotonic_s() == true.monotonic_s()
