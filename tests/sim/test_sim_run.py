"""``farshore-sim run`` as a process."""

import resource
from pathlib import Path

import pytest
from ports import free_ports
from sim.started import center, started

pytestmark = pytest.mark.processes


async def test_sigterm_ends_it_orderly(tmp_path: Path) -> None:
    async with center(tmp_path / "center") as there:
        arguments = ("--nodes", "5", "--center", there.mqtt, "--prefix", "box")
        async with started("farshore-sim", "run", *arguments) as sim:
            names = {f"box-{i}" for i in range(1, 6)}
            await there.online(names)
            await sim.says("5 of 5 nodes connected")
            assert await sim.stop() == 0, sim.text
            await there.offline(names)
            assert " 0 not acknowledged" in sim.text.splitlines()[-1]
            assert "Traceback" not in sim.text
            assert "\x1b" not in sim.text, "a live display where no terminal is"


async def test_it_keeps_trying_a_center_that_is_not_there_and_says_so(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    address = f"mqtt://127.0.0.1:{port}"
    async with started("farshore-sim", "run", "--nodes", "2", "--center", address) as sim:
        await sim.says(f"0 of 2 nodes connected · 2 keep trying {address}")
        assert await sim.stop() == 0, sim.text
        assert "Traceback" not in sim.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--nodes", "0"), "--nodes"),
        (("--nodes", "many"), "--nodes"),
        (("--no-such-flag",), "--no-such-flag"),
    ],
)
async def test_a_bad_flag_is_bad_usage(arguments: tuple[str, ...], said: str) -> None:
    async with started("farshore-sim", "run", *arguments) as sim:
        assert await sim.ends() == 2
        assert said in sim.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--center", "http://127.0.0.1:1883"), "center = 'http://127.0.0.1:1883'"),
        (("--prefix", "no spaces"), "node = 'no spaces-01'"),
        (("--batch-s", "1e9"), "batch_s"),
    ],
)
async def test_a_setting_that_can_not_be_used_is_one_readable_line(
    arguments: tuple[str, ...], said: str
) -> None:
    async with started("farshore-sim", "run", *arguments) as sim:
        assert await sim.ends() == 2
        (line,) = sim.text.splitlines()
        assert line.startswith("farshore-sim: ")
        assert said in line
        assert "expected" in line


async def test_a_folder_that_can_not_be_written_is_one_readable_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with started("farshore-sim", "run", "--data", str(tmp_path / "file")) as sim:
        assert await sim.ends() == 1
        assert "Traceback" not in sim.text
        assert "agent.db" in sim.text


async def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be() -> None:
    (port,) = free_ports(1)
    address = f"mqtt://127.0.0.1:{port}"
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with started("farshore-sim", "run", "--nodes", "1", "--center", address) as sim:
        await sim.says("0 of 1 nodes connected")
        soft, hard = resource.prlimit(sim.process.pid, resource.RLIMIT_NOFILE)
    assert soft == hard >= before[0]
