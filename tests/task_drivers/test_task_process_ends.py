"""The driver ``process`` ends all that a run has begun, also what hides: with control groups and without."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from farshore_edge.commands.verbs.table import marked
from farshore_edge.tasks.drivers.limits.choice import host_cages
from farshore_edge.tasks.drivers.limits.model import Cage, Cages, Confinement, Open, OpenCages
from farshore_edge.tasks.drivers.limits.rlimits import ProcessLimits
from farshore_edge.tasks.drivers.model import DriverError, Exit, Running, Work
from farshore_edge.tasks.drivers.process import ProcessDriver
from farshore_edge.tasks.drivers.process.run_files import mark_of
from farshore_edge.tasks.drivers.process.running import ProcessRun
from farshore_edge.tasks.drivers.shim.members import end_all
from farshore_edge.tasks.drivers.shim.options import Options
from farshore_protocol.tasks.settings import ProcessSettings
from left_out import leave_out
from task_drivers.rigs import end, living, work

DEADLINE_S = 120.0


class Bench:
    """A program whose child has left its session, its parent and its environment."""

    def __init__(self, folder: Path, cages: Cages) -> None:
        self.folder = folder
        self.cages = cages
        self.driver = ProcessDriver(folder, cages)
        self.mark = f"4{time.monotonic_ns() % 10**9}"

    def work(self, after: str) -> Work:
        hidden = f"(setsid env -i /bin/sleep {self.mark} &)"
        # Also when it has no parent any more.
        hides = f"{hidden}; sh -c '{hidden}; exit 0'; {after}"
        return work(self.folder, ProcessSettings(argv=["/bin/sh", "-c", hides]))

    def hidden(self) -> list[int]:
        """Those that have become what they are to be."""
        found = []
        for pid in living(self.mark):
            with contextlib.suppress(OSError):  # it may end while it is looked at
                if Path(f"/proc/{pid}/comm").read_text() == "sleep\n":
                    found.append(pid)
        return found

    async def begin(self, after: str) -> tuple[Running, Work]:
        made = self.work(after)
        running = await self.driver.start(made)
        await until(lambda: len(self.hidden()) == 2)
        hidden = self.hidden()
        assert not marked(mark_of(made)) & set(hidden), "nothing in its environment tells of it"
        assert all(os.getsid(pid) != running.pid for pid in hidden)
        return running, made


@pytest.fixture(params=["control groups", "none"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    cages = host_cages(tmp_path)
    if request.param == "control groups" and isinstance(cages, ProcessLimits):
        leave_out("no control groups can be made here")
    made = Bench(tmp_path, cages if request.param == "control groups" else ProcessLimits())
    yield made
    end(living(made.mark))
    await made.driver.sweep(frozenset())


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():  # noqa: ASYNC110 # nobody tells of strangers' processes
            await asyncio.sleep(0.01)


async def wait(running: Running) -> Exit:
    async with asyncio.timeout(DEADLINE_S):
        return await running.wait()


async def test_who_hides_ends_with_the_program(bench: Bench) -> None:
    running, made = await bench.begin("while [ ! -e go ]; do sleep 0.02; done; exit 5")
    (made.folder / "go").touch()
    assert await wait(running) == Exit(exit_code=5)
    assert living(bench.mark) == []


@pytest.mark.parametrize("deaf", [True, False], ids=["killed", "asked"])
async def test_who_hides_is_stopped_with_it(bench: Bench, deaf: bool) -> None:
    stays = "while :; do sleep 0.02; done"
    running, _ = await bench.begin(f"trap '' TERM; {stays}" if deaf else stays)
    expected = "SIGKILL" if deaf else "SIGTERM"
    async with asyncio.timeout(DEADLINE_S):
        found = await running.stop("SIGTERM", 0.2 if deaf else DEADLINE_S)
    assert found == Exit(signal=expected)
    assert living(bench.mark) == []


async def test_who_hides_is_killed_with_it(bench: Bench) -> None:
    running, _ = await bench.begin("exec sleep 600")
    assert running.pid is not None
    os.kill(running.pid, signal.SIGKILL)
    assert await wait(running) == Exit(signal="SIGKILL")
    assert living(bench.mark) == []


async def test_a_killed_shim_loses_sight_of_nobody_where_there_are_control_groups(
    bench: Bench,
) -> None:
    """Without them the hidden ones are handed to the first process of the machine: docs/task-drivers.md."""
    running, made = await bench.begin("exec sleep 600")
    [shim] = marked(mark_of(made)) - {running.pid}
    os.kill(shim, signal.SIGKILL)
    assert await wait(running) == Exit()
    assert not marked(mark_of(made))
    if bench.cages.find(made.id).pids() is None:
        assert len(living(bench.mark)) == 2
    else:
        assert living(bench.mark) == []


async def test_an_agent_that_has_lost_its_books_finds_who_hides(bench: Bench) -> None:
    running, made = await bench.begin("exec sleep 600")
    [shim] = marked(mark_of(made)) - {running.pid}
    os.kill(shim, signal.SIGKILL)
    told = await ProcessDriver(bench.folder, bench.cages).sweep(frozenset())
    assert any("sleep" in each for each in told)
    if bench.cages.find(made.id).pids() is not None:
        assert living(bench.mark) == []
        assert not bench.cages.ids()


FORKS = """
import os, time
while True:
    if os.fork():
        time.sleep(0.001)
        os._exit(0)
"""


async def test_who_runs_away_by_forking_is_caught(bench: Bench, tmp_path: Path) -> None:
    """It is another process every millisecond: nobody can be named fast enough, the group can."""
    if bench.cages.find("any.0.1").pids() is None:
        pytest.skip("only a control group holds it")
    script = f"import os\nos.setsid()\nos.environ.clear()\n{FORKS}"
    program = tmp_path / f"runner-{bench.mark}"
    program.write_text(script)
    argv = ["/bin/sh", "-c", f"env -i {sys.executable} {program} & exec sleep 600"]
    made = work(bench.folder, ProcessSettings(argv=argv))
    running = await bench.driver.start(made)
    await until(lambda: bool(living(str(program))))
    async with asyncio.timeout(DEADLINE_S):
        await running.stop("SIGTERM", DEADLINE_S)
    assert living(str(program)) == []
    assert not bench.cages.find(made.id).pids()


ENDS = f"""
import sys
from {end_all.__module__} import end_all
from {Options.__module__} import Options
end_all(2**22 + 1, Options(sys.argv[1:]))
"""


def test_the_shim_ends_a_group_by_the_kernel_s_word(tmp_path: Path) -> None:
    """Played with files: what forks away between a look and a kill is only ended so. In a process of its
    own, because whoever is a child of the shim's is of the run: here an engine that other tests need."""
    for name in ("cgroup.kill", "cgroup.procs", "freezer.state"):
        (tmp_path / name).touch()
    words = [f"kill={tmp_path}/no/such", f"kill={tmp_path}/cgroup.kill"]
    words += [f"freezer={tmp_path}/freezer.state", f"procs={tmp_path}/cgroup.procs", "mark=X=y"]
    subprocess.run([sys.executable, "-c", ENDS, *words], check=True, timeout=DEADLINE_S)
    assert (tmp_path / "cgroup.kill").read_text() == "1"
    assert (tmp_path / "freezer.state").read_text() == "THAWED", "whatever comes, none stays frozen"


class Spied(Open):
    def __init__(self) -> None:
        super().__init__()
        self.kills = 0

    def kill(self) -> None:
        self.kills += 1


async def test_the_agent_ends_a_group_by_the_kernel_s_word(tmp_path: Path) -> None:
    cage = Spied()
    await ProcessRun(work(tmp_path, ProcessSettings(argv=["x"])), cage, None, 1).kill()
    assert cage.kills == 1


class TakenAway(OpenCages):
    """Somebody removes the group of each of the first runs before a program is in it."""

    def __init__(self, folder: Path, times: int) -> None:
        self.made = 0
        self._gone, self._times = str(folder / "gone/cgroup.procs"), times

    def make(self, work: Work) -> Cage:
        self.made += 1
        gone = (self._gone,) if self.made <= self._times else ()
        return Open(Confinement(procs_files=gone, cpus=work.cpus))


async def test_a_group_that_is_taken_away_before_it_is_entered_is_made_again(
    tmp_path: Path,
) -> None:
    cages = TakenAway(tmp_path, times=2)
    driver = ProcessDriver(tmp_path, cages)
    running = await driver.start(work(tmp_path, ProcessSettings(argv=["/bin/sh", "-c", "exit 7"])))
    async with asyncio.timeout(DEADLINE_S):
        assert (await running.wait()).exit_code == 7
    assert cages.made == 3


async def test_a_machine_without_its_groups_fails_the_start(tmp_path: Path) -> None:
    cages = TakenAway(tmp_path, times=100)
    with pytest.raises(DriverError, match="can't be confined: No such file") as raised:
        await ProcessDriver(tmp_path, cages).start(
            work(tmp_path, ProcessSettings(argv=["/bin/true"]))
        )
    assert (raised.value.code, raised.value.permanent) == ("not_started", False)
    assert cages.made == 4
