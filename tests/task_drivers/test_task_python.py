"""What only the driver ``python`` has: environments, made once, kept, and removed."""

import asyncio
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from farshore_edge.config.model import Ended
from farshore_edge.config.programs import HostPrograms
from farshore_edge.tasks.drivers.model import DriverError, Exit, Work
from farshore_edge.tasks.drivers.process import ProcessDriver
from farshore_edge.tasks.drivers.python.driver import PythonDriver
from farshore_edge.tasks.drivers.python.environments import Environments
from farshore_edge.tasks.drivers.python.settings import (
    Recipe,
    pip_arguments,
)
from farshore_protocol.tasks.settings import PythonSettings
from hypothesis import given
from hypothesis import strategies as st
from left_out import leave_out
from task_drivers.rigs import make_wheel, work

DEADLINE_S = 120.0
APP = """\
import json, os, sys
import base_module
class Main:
    @staticmethod
    def run():
        print(base_module.NAME, sys.argv[1:])
        with open(os.environ["FARSHORE_RESULT"], "w") as file:
            json.dump({"epoch": os.environ.get("FARSHORE_EPOCH")}, file)
        return 4
"""
BASE = "NAME = 'from the base'\n"


class Counting:
    """Real programs; what was run is remembered. ``fail``: the next one breaks off, as in a crash."""

    def __init__(self) -> None:
        self.run_so_far: list[str] = []
        self.fail = False

    async def run(self, argv: Sequence[str], *, timeout_s: float) -> Ended:
        self.run_so_far.append("pip" if "pip" in argv else "venv")
        ended = await HostPrograms().run(argv, timeout_s=timeout_s)
        if self.fail:
            raise asyncio.CancelledError
        return ended


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = Counting()
        self.now_s = os.stat(folder).st_mtime
        self.again()

    def again(self) -> None:
        """As after another start of the agent."""
        environments = Environments(
            self.folder / "environments", programs=self.programs, now_s=lambda: self.now_s
        )
        self.driver = PythonDriver(ProcessDriver(self.folder / "tasks"), environments)

    def made(self) -> list[str]:
        return sorted(each.name for each in (self.folder / "environments").glob("*"))

    def work(self, id: str = "app.0.7", **more: Any) -> Work:
        settings = PythonSettings(
            entry="app_module:Main.run", args=("a", "b c"), wheel="app_module-1.0-py3-none-any.whl"
        )
        made = work(self.folder / "tasks", replace(settings, wheels="wheels", **more), id=id)
        make_wheel(
            made.folder / "app_module-1.0-py3-none-any.whl", "app_module", APP, "base_module"
        )
        (made.folder / "wheels").mkdir(exist_ok=True)
        make_wheel(made.folder / "wheels/base_module-1.0-py3-none-any.whl", "base_module", BASE)
        return made


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def refused(bench: Bench, made: Work) -> DriverError:
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(DriverError) as found:
            await bench.driver.prepare(made)
    return found.value


async def test_a_function_of_a_wheel_is_run_with_what_it_requires(bench: Bench) -> None:
    made = bench.work()
    async with asyncio.timeout(DEADLINE_S):
        await bench.driver.prepare(made)
        running = await bench.driver.start(made)
        assert await running.wait() == Exit(exit_code=4)
    assert made.output.read_text() == "from the base ['a', 'b c']\n"
    assert (made.folder / "result").read_text() == '{"epoch": null}'


async def test_an_environment_is_made_once_and_kept(bench: Bench) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await bench.driver.prepare(bench.work())
        assert bench.programs.run_so_far == ["venv", "pip"]
        bench.again()
        await bench.driver.prepare(bench.work())
        await bench.driver.prepare(bench.work("other.0.8"))
        assert bench.programs.run_so_far == ["venv", "pip"], "the same wheels, the same environment"
        await bench.driver.prepare(bench.work("more.0.9", system_packages=True))
    assert len(bench.made()) == 2


async def test_it_is_removed_when_it_has_been_unused_for_a_day(bench: Bench) -> None:
    one, other = bench.work(), bench.work("other.0.8")
    async with asyncio.timeout(DEADLINE_S):
        await bench.driver.prepare(one)
        await bench.driver.prepare(other)
        await bench.driver.remove(one)
        bench.now_s += 2 * 86_400
        await bench.driver.sweep(frozenset({other.id}))
        assert len(bench.made()) == 1, "another needs it"
        await bench.driver.sweep(frozenset())  # nobody knows of the other any more
        assert len(bench.made()) == 1, "it is unused, not for long"
        bench.now_s += 2 * 86_400
        await bench.driver.sweep(frozenset())
    assert bench.made() == []


async def test_one_that_was_made_half_way_is_made_anew(bench: Bench) -> None:
    made = bench.work()
    bench.programs.fail = True
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(asyncio.CancelledError):
            await bench.driver.prepare(made)
        bench.programs.fail = False
        bench.again()
        await bench.driver.prepare(made)
    assert bench.programs.run_so_far == ["venv", "venv", "pip"]


async def test_what_is_required_and_not_there_is_told_for_good(bench: Bench) -> None:
    error = await refused(bench, bench.work(requirements=("no-such-thing>=2",)))
    assert (error.code, error.permanent) == ("bad_requirements", True)
    assert "no-such-thing" in error.detail


async def test_a_wheel_that_is_none(bench: Bench) -> None:
    made = bench.work()
    (made.folder / made.run.wheel).write_bytes(b"not a wheel")
    error = await refused(bench, made)
    assert (error.code, error.permanent) == ("bad_requirements", True)


@pytest.mark.parametrize("wheel", ["no.whl", "../../../x.whl"])
async def test_a_wheel_that_is_not_in_its_folder(bench: Bench, wheel: str) -> None:
    (bench.folder / "x.whl").touch()
    error = await refused(bench, bench.work(wheel=wheel))
    assert (error.code, error.permanent) == ("no_file", True)
    assert wheel in error.detail


async def test_a_function_that_is_not_there_fails_in_its_own_words(bench: Bench) -> None:
    made = bench.work(entry="app_module:none")
    async with asyncio.timeout(DEADLINE_S):
        await bench.driver.prepare(made)
        assert (await (await bench.driver.start(made)).wait()).exit_code == 1
    assert "AttributeError" in made.output.read_text()


def test_nothing_is_fetched_without_an_index() -> None:
    run = PythonSettings(entry="a:b", requirements=("x>=1",))
    arguments = pip_arguments(run, wheel="/w/a.whl", wheels="/w")
    assert arguments is not None
    assert "--no-index" in arguments
    assert "--find-links=/w" in arguments
    assert arguments[arguments.index("--") :] == ["--", "/w/a.whl", "x>=1"]
    assert "--only-binary=:all:" in arguments
    assert pip_arguments(PythonSettings(entry="a:b"), wheel=None, wheels=None) is None


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({}, "entry"),
        ({"entry": "no function"}, "entry"),
        ({"entry": "a:b", "requirements": ["--index-url=https://evil"]}, "requirements"),
        ({"entry": "a:b", "requirements": ["x @ https://evil/x.whl"]}, "requirements"),
        ({"entry": "a:b", "index": "http://plain"}, "index"),
        ({"entry": "a:b", "wheel": "/abs.whl"}, "wheel"),
        ({"entry": "a:b", "wheel": "a.tar.gz"}, "wheel"),
    ],
)
def test_bad_settings_are_refused_with_their_place(settings: dict[str, Any], where: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=where):
        msgspec.convert(settings, PythonSettings)


@given(st.permutations(["a", "b>1", "c"]), st.permutations([("x", "1"), ("y", "2")]))
def test_the_order_makes_no_other_environment(
    requirements: list[str], files: list[tuple[str, str]]
) -> None:
    recipe = Recipe(python="p", requirements=tuple(requirements), files=tuple(files))
    same = Recipe(python="p", requirements=("a", "b>1", "c"), files=(("x", "1"), ("y", "2")))
    assert recipe.digest == same.digest
    assert replace(recipe, python="q").digest != recipe.digest
    assert replace(recipe, files=(("x", "1"), ("y", "3"))).digest != recipe.digest


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Where everybody may enter; pytest's own folders are closed."""
    with tempfile.TemporaryDirectory(prefix="fs-user-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
async def test_another_user_runs_it_where_he_may_enter(open_folder: Path) -> None:
    """With an interpreter that everybody may run; the environments are closed to others at first."""
    if (python := shutil.which("python3", path="/usr/bin")) is None:
        leave_out("a Python that everybody may run is not here (apt-get install python3-venv)")
    closed = open_folder / "environments"
    closed.mkdir(mode=0o700)
    driver = PythonDriver(ProcessDriver(open_folder / "tasks"), Environments(closed, python=python))
    settings = PythonSettings(entry="os:getuid", user="nobody")
    made = replace(work(open_folder, settings), env={"PATH": "/usr/bin:/bin"})
    with pytest.raises(DriverError, match=f"user nobody can't enter {closed}") as caught:
        await driver.prepare(made)
    assert (caught.value.code, caught.value.permanent) == ("not_permitted", False)
    closed.chmod(0o755)
    await driver.prepare(made)
    running = await driver.start(made)
    async with asyncio.timeout(DEADLINE_S):
        assert await running.wait() == Exit(exit_code=pwd.getpwnam("nobody").pw_uid % 256)


async def test_to_look_for_its_function_runs_nothing_of_it(bench: Bench, tmp_path: Path) -> None:
    made = work(tmp_path / "tasks", PythonSettings(entry="loud.part:run"))
    (made.folder / "loud").mkdir()
    (made.folder / "loud/__init__.py").write_text("open('ran', 'w')\n")
    await bench.driver.prepare(made)
    assert not (made.folder / "ran").exists()
