"""Cages: what this machine's kernel holds, what the others' files get, and what can't be held."""

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from farshore_edge.tasks.drivers.limits import cgroup_v1, cgroup_v2
from farshore_edge.tasks.drivers.limits.bounds import Bounds
from farshore_edge.tasks.drivers.limits.cgroup_v1 import LegacyCages
from farshore_edge.tasks.drivers.limits.cgroup_v2 import UnifiedCages
from farshore_edge.tasks.drivers.limits.choice import ChosenLate, agent_name, host_cages
from farshore_edge.tasks.drivers.limits.layout import Layout, read_layout
from farshore_edge.tasks.drivers.limits.model import Cage, Cages
from farshore_edge.tasks.drivers.limits.rlimits import ProcessLimits
from farshore_edge.tasks.drivers.model import DriverError, Work
from farshore_protocol.tasks.spec import Limits, Requests
from hypothesis import given
from hypothesis import strategies as st
from left_out import leave_out

DEADLINE_S = 30.0
MIB = 1024 * 1024
UNLIMITED = Limits()

V1 = (
    "30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "31 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 25 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
)
V2_BESIDE = "33 25 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
V2 = "24 20 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def work(folder: Path, limits: Limits = UNLIMITED, cpus: tuple[int, ...] = ()) -> Work:
    return Work(
        id="service.0.7",
        run=None,
        folder=folder,
        state=folder,
        output=folder / "output",
        env={},
        requests=Requests(),
        limits=limits,
        cpus=cpus,
    )


@pytest.mark.parametrize(
    ("mountinfo", "kind", "controllers"),
    [
        pytest.param(V1, "v1", {"cpu", "cpuacct", "memory"}, id="version 1 alone"),
        pytest.param(V1 + V2_BESIDE, "hybrid", {"cpu", "cpuacct", "memory"}, id="hybrid"),
        pytest.param(V2, "v2", set(), id="version 2 alone"),
        pytest.param("20 1 8:1 / / rw - ext4 /dev/sda rw\n", "none", set(), id="no control groups"),
        pytest.param("not a line\n - \n\n", "none", set(), id="what no kernel writes"),
    ],
)
def test_the_layout_is_read_from_the_mounts(
    mountinfo: str, kind: str, controllers: set[str]
) -> None:
    layout = read_layout(mountinfo)
    assert layout.kind == kind
    assert set(layout.v1) == controllers


def test_a_mount_with_a_space_in_its_path_is_read() -> None:
    assert read_layout(V2.replace("/cgroup ", "/c\\040group ")).v2 == "/sys/fs/c group"


@given(st.text())
def test_no_text_breaks_the_layout(text: str) -> None:
    assert read_layout(text).kind in ("v1", "hybrid", "v2", "none")


@given(st.floats(0.001, 4096))
def test_both_versions_get_the_same_share_of_the_processor(cores: float) -> None:
    bounds = Bounds(cpu_cores=cores)
    ((_, _, both),) = cgroup_v2.settings(bounds)
    (_, _, period), (_, _, quota) = cgroup_v1.settings(bounds)
    assert both == f"{quota} {period}"
    assert abs(int(quota) / int(period) - max(cores, 0.01)) < 1e-5


def test_version_2_gets_its_files(tmp_path: Path) -> None:
    """Nobody's kernel: a tree of plain files, to see what would be written into which."""
    cages = UnifiedCages(tmp_path, "agent")
    cages.begin()
    folder = tmp_path / "farshore/agent"
    (folder / "cgroup.subtree_control").write_text("cpu cpuset memory pids")
    group = folder / "service.0.7"
    names = ("cpu.max", "memory.max", "memory.swap.max", "memory.oom.group", "pids.max")
    made = Path.mkdir

    def mkdir(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        made(self, mode, parents=parents, exist_ok=exist_ok)
        for name in (*names, "cpuset.cpus"):
            (self / name).touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "mkdir", mkdir)
        # A plain file takes the last controller alone; the kernel's adds each to those before.
        patch.setattr(cages, "begin", lambda: None)
        limits = Limits(cpu_cores=1.5, memory_bytes=32 * MIB, pids=20)
        cage = cages.make(work(tmp_path, limits, cpus=(1, 3)))
    assert cage.confinement.procs_files == (str(group / "cgroup.procs"),)
    assert {name: (group / name).read_text() for name in (*names, "cpuset.cpus")} == {
        "cpu.max": "150000 100000",
        "memory.max": str(32 * MIB),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "20",
        "cpuset.cpus": "1,3",
    }
    (group / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (group / "memory.current").write_text(f"{9 * MIB}\n")
    (group / "memory.stat").write_text(f"anon 1\ninactive_file {4 * MIB}\n")
    usage = cage.usage()
    assert usage is not None
    assert (usage.cpu_s, usage.memory_bytes) == (2.5, 5 * MIB)
    assert not cage.was_oom()
    (group / "memory.events").write_text("oom 1\noom_kill 1\n")
    assert cage.was_oom()


@pytest.mark.parametrize(
    "limits", [Limits(cpu_cores=1), Limits(pids=5)], ids=["processors", "processes"]
)
def test_a_limit_that_no_process_can_be_given_alone_is_refused(
    tmp_path: Path, limits: Limits
) -> None:
    with pytest.raises(DriverError) as refused:
        ProcessLimits().make(work(tmp_path, limits))
    assert (refused.value.code, refused.value.permanent) == ("unsupported", True)
    assert "control groups" in refused.value.detail


def test_without_control_groups_memory_is_bounded_for_each_process(tmp_path: Path) -> None:
    cage = ProcessLimits().make(work(tmp_path, Limits(memory_bytes=5 * MIB), cpus=(0,)))
    assert cage.confinement.rlimits == {"RLIMIT_DATA": 5 * MIB}
    assert cage.confinement.cpus == (0,)
    assert cage.pids() is None


def test_a_machine_whose_groups_can_t_be_made_has_limits_of_processes(tmp_path: Path) -> None:
    file = tmp_path / "no folder"
    file.touch()
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(
        V2.replace(" /sys/fs/cgroup ", f" {str(file).replace(' ', chr(92) + '040')} ")
    )
    assert host_cages(tmp_path, mountinfo=mountinfo).kind == "rlimits"


def test_what_can_t_be_held_without_control_groups_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cages = ChosenLate(tmp_path, mountinfo=tmp_path / "none")
    assert cages.ids() == frozenset()
    assert cages.told() is None, "nothing is made before a task needs it"
    cages.find("service.0.7")
    told = cages.told()
    assert told is not None
    assert (told["by"], told["controllers"]) == ("rlimits", [])
    assert "number of processes can't be limited" in told["lacks"]
    assert told["lacks"] in [vars(record).get("lacks") for record in caplog.records]


# On this machine's kernel


class Bench:
    """Cages that this machine's kernel keeps, and programs in them."""

    def __init__(self, cages: LegacyCages | UnifiedCages, folder: Path) -> None:
        self.cages: Cages = cages
        self.controllers = cages.controllers
        self.folder = folder
        self.programs: list[subprocess.Popen[bytes]] = []

    def needs(self, *controllers: str) -> None:
        for each in controllers:
            if each not in self.controllers:
                leave_out(f"no control group with the controller {each} can be made here")

    def start(self, cage: Cage, script: str) -> "subprocess.Popen[bytes]":
        enter = "".join(f"echo $$ > {file} && " for file in cage.confinement.procs_files)
        argv = ["/bin/sh", "-c", f"{enter} exec /bin/sh -c '{script}'"]
        program = subprocess.Popen(argv, start_new_session=True, stdout=subprocess.PIPE)
        self.programs.append(program)
        return program


def _cages(data: Path, which: str) -> LegacyCages | UnifiedCages:
    if os.geteuid() != 0:
        leave_out("control groups are made by root alone")
    layout = read_layout(Path("/proc/self/mountinfo").read_text())
    agent = agent_name(data)
    try:
        if which == "version 1":
            if not layout.v1:
                leave_out("this machine has no control groups of version 1")
            legacy = LegacyCages(layout, agent)
            legacy.begin()
            return legacy
        if layout.v2 is None:
            leave_out("this machine has no control groups of version 2")
        unified = UnifiedCages(Path(layout.v2), agent)
        unified.begin()
    except OSError as exc:
        leave_out(f"control groups can't be made here: {exc}")
    return unified


@pytest.fixture(params=["version 1", "version 2"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(_cages(tmp_path, request.param), tmp_path)
    yield bench
    cage = bench.cages.find("service.0.7")
    for program in bench.programs:
        while cage.pids():
            cage.kill()
        program.wait(DEADLINE_S)
        if program.stdout is not None:
            program.stdout.close()
    cage.remove()
    for mount in (*Path("/sys/fs/cgroup").glob("*/farshore"), Path("/sys/fs/cgroup/farshore")):
        assert not (mount / agent_name(tmp_path)).exists(), "nothing is left of it on the machine"


def emptied(cage: Cage) -> bool:
    cage.kill()
    return not cage.pids()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():  # noqa: ASYNC110 # the kernel sends no event for it
            await asyncio.sleep(0.01)


async def test_all_of_it_is_killed_also_what_left_its_session(bench: Bench) -> None:
    cage = bench.cages.make(work(bench.folder))
    bench.start(cage, 'setsid sleep 600 & (trap "" TERM; sleep 600) & wait')
    await until(lambda: len(cage.pids() or ()) >= 3)
    # As a later agent finds it.
    cage = bench.cages.find("service.0.7")
    seen = cage.pids()
    assert seen
    await until(lambda: emptied(cage))
    cage.remove()
    assert cage.pids() == frozenset()
    cage.remove()


async def test_a_fork_bomb_is_ended(bench: Bench) -> None:
    bench.needs("pids")
    cage = bench.cages.make(work(bench.folder, Limits(pids=30)))
    bench.start(cage, "while :; do sleep 600 & done 2>/dev/null")
    most = 0

    def full() -> bool:
        nonlocal most
        most = max(most, len(cage.pids() or ()))
        return most >= 29  # the shell gives up at the first fork that is refused

    await until(full)
    assert most <= 30
    await until(lambda: emptied(cage))


async def test_memory_is_bounded_and_the_kernel_s_kill_is_seen(bench: Bench) -> None:
    bench.needs("memory")
    cage = bench.cages.make(work(bench.folder, Limits(memory_bytes=16 * MIB)))
    program = bench.start(cage, "exec tail /dev/zero")
    assert await asyncio.to_thread(program.wait, DEADLINE_S) == -9
    assert cage.was_oom()
    # Another run of the same id begins with a clean sheet.
    assert not bench.cages.make(work(bench.folder)).was_oom()


async def test_the_processor_s_time_is_bounded_and_counted(bench: Bench) -> None:
    bench.needs("cpu", "cpuacct")
    cage = bench.cages.make(work(bench.folder, Limits(cpu_cores=0.2)))
    began_s = time.monotonic()
    bench.start(cage, "while :; do :; done")
    await until(lambda: (used := cage.usage()) is not None and used.cpu_s >= 0.4)
    # 0.4 s of a fifth of a core take 2 s; one period may be had in advance.
    assert time.monotonic() - began_s >= 1.6
    used = cage.usage()
    assert used is not None
    assert 0 < used.memory_bytes < 64 * MIB


async def test_processors_are_given_for_itself(bench: Bench) -> None:
    bench.needs("cpuset")
    cage = bench.cages.make(work(bench.folder, cpus=(0,)))
    program = bench.start(cage, "grep Cpus_allowed_list /proc/self/status")
    said, _ = await asyncio.to_thread(program.communicate, timeout=DEADLINE_S)
    assert said.split() == [b"Cpus_allowed_list:", b"0"]


async def test_a_group_in_which_something_lives_is_not_taken(bench: Bench) -> None:
    cage = bench.cages.make(work(bench.folder))
    bench.start(cage, "sleep 600")
    await until(lambda: bool(cage.pids()))
    with pytest.raises(DriverError, match=r"service\.0\.7"):
        bench.cages.make(replace(work(bench.folder)))
    assert cage.pids()


def test_each_agent_has_its_own(tmp_path: Path) -> None:
    assert agent_name(tmp_path) == agent_name(tmp_path / "x" / "..")
    assert agent_name(tmp_path) != agent_name(tmp_path / "x")


def test_a_hybrid_machine_uses_both() -> None:
    cages = LegacyCages(Layout(v1={"cpu": "/c"}, v2="/u"), "agent")
    assert cages.controllers == {"cpu"}


def test_what_an_earlier_agent_has_left_is_looked_for_without_making_anything(
    tmp_path: Path,
) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(V2.replace(" /sys/fs/cgroup ", f" {tmp_path}/cgroup "))
    (tmp_path / "cgroup").mkdir()
    cages = ChosenLate(tmp_path, mountinfo=mountinfo)
    assert cages.ids() == frozenset()
    assert not list((tmp_path / "cgroup").iterdir())
    (tmp_path / "cgroup/farshore" / agent_name(tmp_path) / "web.0.7").mkdir(parents=True)
    assert cages.ids() == {"web.0.7"}
