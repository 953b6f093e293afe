"""The contract of a driver (``tasks/drivers/model.py``), held by each of them."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from farshore_edge.tasks.drivers.model import Driver, DriverError, Exit, Running, Work
from farshore_protocol.tasks.spec import Limits
from left_out import leave_out
from task_drivers.rigs import Rig, living, work

DEADLINE_S = 60.0
MIB = 1024 * 1024
STAYS = "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done"
STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.05; done"


class Case:
    """A rig with one driver, and what was started by it."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self.rig = rig
        self.folder = folder
        self.driver: Driver = rig.driver()
        self.works: list[Work] = []

    def work(self, script: str, **more: Any) -> Work:
        made = work(self.folder, self.rig.run(script), **more)
        self.rig.furnish(made)
        self.works.append(made)
        return made

    async def start(self, script: str, **more: Any) -> tuple[Running, Work]:
        made = self.work(script, **more)
        await self.driver.prepare(made)
        return await self.driver.start(made), made

    async def end(self, script: str, **more: Any) -> tuple[Exit, Work]:
        running, made = await self.start(script, **more)
        return await wait(running), made

    async def close(self) -> None:
        driver = self.rig.driver()
        await driver.sweep(frozenset())
        for each in self.works:
            await driver.remove(each)


@pytest.fixture
async def case(rig: Rig, tmp_path: Path) -> AsyncIterator[Case]:
    made = Case(rig, tmp_path)
    yield made
    await made.close()


async def wait(running: Running) -> Exit:
    async with asyncio.timeout(DEADLINE_S):
        return await running.wait()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():  # noqa: ASYNC110 # other programs send no event
            await asyncio.sleep(0.02)


def said(made: Work) -> str:
    return made.output.read_text() if made.output.exists() else ""


async def up(made: Work) -> None:
    await until(lambda: "up" in said(made))


async def test_it_is_available(case: Case) -> None:
    assert await case.driver.available() is None


@pytest.mark.parametrize("code", [0, 7])
async def test_the_exit_code_is_told(case: Case, code: int) -> None:
    found, _ = await case.end(f"exit {code}")
    assert found == Exit(exit_code=code)


async def test_a_signal_is_told(case: Case) -> None:
    script = "kill -KILL $$"
    if case.rig.first:
        script = f"sh -c '{script}'; exit $?"
    found, _ = await case.end(script)
    assert found == Exit(signal="SIGKILL")


async def test_output_and_error_are_appended(case: Case) -> None:
    """A driver may read them by two pipes: what is said to one of them stays in order."""
    made = case.work("echo one; echo two >&2; echo three")
    made.output.write_text("from before\n")
    await case.driver.prepare(made)
    for runs in (1, 2):  # started, and restarted
        await wait(await case.driver.start(made))
        before, *lines = said(made).splitlines()
        assert before == "from before"
        assert [line for line in lines if line != "two"] == ["one", "three"] * runs
        assert lines.count("two") == runs


async def test_much_output_arrives_in_whole(case: Case) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done"
    _, made = await case.end(script)
    assert said(made) == "0123456789012345678901234567890123456789\n" * 3000


async def test_its_environment_is_what_it_was_given(case: Case) -> None:
    strange = "two words, 'quotes', \"more\", $HOME, = and é"
    env = {**case.work("").env, "STRANGE": strange}
    _, made = await case.end('echo "$STRANGE"; echo "$FARSHORE_TASK"', env=env)
    assert said(made) == f"{strange}\nsuite\n"


async def test_it_begins_in_its_folder_and_leaves_its_result_there(case: Case) -> None:
    made = case.work('cat input; echo 42 > "$FARSHORE_RESULT"')
    (made.folder / "input").write_text("an artifact\n")
    await case.driver.prepare(made)
    assert (await wait(await case.driver.start(made))).exit_code == 0
    assert said(made) == "an artifact\n"
    assert (made.folder / "result").read_text() == "42\n"


async def test_it_is_asked_to_end(case: Case) -> None:
    running, made = await case.start(STAYS)
    await up(made)
    async with asyncio.timeout(DEADLINE_S):
        assert await running.stop("SIGTERM", DEADLINE_S) == Exit(exit_code=3)


async def test_another_signal_can_be_its_word(case: Case) -> None:
    running, made = await case.start(STAYS.replace("TERM", "INT"))
    await up(made)
    async with asyncio.timeout(DEADLINE_S):
        assert await running.stop("SIGINT", DEADLINE_S) == Exit(exit_code=3)


async def test_it_is_killed_after_the_grace(case: Case) -> None:
    running, made = await case.start(STUBBORN)
    await up(made)
    began_s = time.monotonic()
    async with asyncio.timeout(DEADLINE_S):
        assert await running.stop("SIGTERM", 0.5) == Exit(signal="SIGKILL")
    assert time.monotonic() - began_s >= 0.5


async def test_without_grace_it_is_killed_at_once(case: Case) -> None:
    running, made = await case.start(STUBBORN)
    await up(made)
    async with asyncio.timeout(DEADLINE_S):
        assert await running.stop("SIGTERM", 0) == Exit(signal="SIGKILL")


async def test_what_has_ended_can_be_stopped(case: Case) -> None:
    running, _ = await case.start("exit 5")
    await wait(running)
    assert await running.stop("SIGTERM", DEADLINE_S) == Exit(exit_code=5)


@pytest.mark.parametrize("how", ["by itself", "stopped"])
async def test_nothing_of_it_is_left(case: Case, how: str) -> None:
    """What it started is ended with it: in its group, or in a session of its own, deaf or not."""
    mark = f"7{time.monotonic_ns() % 10**9}"
    children = f"setsid sleep {mark} & (trap '' TERM HUP; exec sleep {mark}) &"
    ending = "while [ ! -e go ]; do sleep 0.02; done" if how == "by itself" else STAYS
    running, made = await case.start(f"{children} echo up; {ending}")
    await up(made)
    await until(lambda: len(living(mark)) == 2)
    if how == "by itself":
        (made.folder / "go").touch()
        await wait(running)
    else:
        await running.stop("SIGTERM", 5)
    assert living(mark) == []


async def test_waiting_may_be_given_up_and_begun_again(case: Case) -> None:
    running, made = await case.start(STAYS)
    await up(made)
    waiting = asyncio.create_task(running.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    both = asyncio.gather(running.wait(), running.wait())
    await running.stop("SIGTERM", DEADLINE_S)
    assert tuple(await both) == (Exit(exit_code=3), Exit(exit_code=3))


@pytest.mark.parametrize("traced", [True, False], ids=["with its trace", "by its id alone"])
async def test_it_is_taken_up_after_the_agent_s_death(case: Case, traced: bool) -> None:
    first, made = await case.start(STAYS)
    await up(made)
    trace = dict(first.trace) if traced else {}
    again = await case.rig.driver().adopt(made, trace)
    assert again is not None
    assert again.pid == first.pid
    async with asyncio.timeout(DEADLINE_S):
        assert await again.stop("SIGTERM", DEADLINE_S) == Exit(exit_code=3)
    assert said(made).splitlines().count("up") == 1


async def test_what_ended_meanwhile_tells_its_end(case: Case) -> None:
    running, made = await case.start("echo up; while [ ! -e go ]; do sleep 0.02; done; exit 6")
    await up(made)
    (made.folder / "go").touch()
    assert (await wait(running)).exit_code == 6
    again = await case.rig.driver().adopt(made, running.trace)
    assert again is not None
    assert await wait(again) == Exit(exit_code=6)
    assert said(made) == "up\n"


async def test_what_never_ran_is_not_known(case: Case) -> None:
    made = case.work(STAYS)
    assert await case.driver.adopt(made, {}) is None


async def test_it_runs_again_after_it_has_ended(case: Case) -> None:
    made = case.work("echo x >> count; exit 1")
    await case.driver.prepare(made)
    for runs in (1, 2):
        assert (await wait(await case.driver.start(made))).exit_code == 1
        assert (made.folder / "count").read_text() == "x\n" * runs


async def test_to_prepare_it_twice_is_as_good_as_once(case: Case) -> None:
    made = case.work("exit 0")
    await case.driver.prepare(made)
    await case.rig.driver().prepare(made)
    assert (await wait(await case.driver.start(made))).exit_code == 0


async def test_a_program_that_is_not_there_is_a_driver_error(case: Case) -> None:
    made = work(case.folder, case.rig.nonsense())
    case.rig.furnish(made)
    case.works.append(made)

    async def both() -> None:
        await case.driver.prepare(made)
        await case.driver.start(made)

    with pytest.raises(DriverError) as refused:
        await both()
    assert refused.value.code == "no_program"
    assert "no" in refused.value.detail
    again = await case.rig.driver().adopt(made, {})
    assert again is None or (await wait(again)).exit_code != 0


async def test_what_nobody_wants_is_swept(case: Case) -> None:
    wanted, kept = await case.start(STAYS)
    unwanted, other = await case.start(STAYS, id="other.0.7")
    await up(kept)
    await up(other)
    told = await case.rig.driver().sweep(frozenset({kept.id}))
    assert told, "it says what it has ended"
    await wait(unwanted)
    assert await case.rig.driver().adopt(kept, wanted.trace) is not None
    assert await case.rig.driver().sweep(frozenset({kept.id})) == []
    assert await wanted.stop("SIGTERM", DEADLINE_S) == Exit(exit_code=3)


async def test_what_was_removed_is_not_known_any_more(case: Case) -> None:
    _, made = await case.end("exit 0")
    await case.driver.remove(made)
    assert await case.rig.driver().adopt(made, {}) is None
    await case.driver.remove(made)
    assert made.output.exists()


async def test_a_start_that_is_given_up_leaves_nothing(case: Case) -> None:
    """As a supervisor does with a driver that hangs: it cancels, and sweeps."""
    mark = f"8{time.monotonic_ns() % 10**9}"
    made = case.work(f"exec sleep {mark}")
    await case.driver.prepare(made)
    for pause_s in (0, 0.005, 0.03, 0.1):
        starting = asyncio.create_task(case.driver.start(made))
        await asyncio.wait([starting], timeout=pause_s)
        starting.cancel()
        await asyncio.wait([starting])
        await case.rig.driver().sweep(frozenset())
        assert living(mark) == []


async def test_its_use_is_counted(case: Case) -> None:
    running, made = await case.start("echo up; while :; do :; done")
    await up(made)
    async with asyncio.timeout(DEADLINE_S):
        while (used := await running.usage()) is None or used.cpu_s < 0.3:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert 0 < used.memory_bytes < 512 * MIB
    await running.stop("SIGTERM", 0)


def needs(case: Case, limit: str) -> None:
    if limit not in case.rig.holds:
        leave_out(f"{limit} can't be limited here by the driver {case.rig.name}")


async def test_its_memory_is_limited_and_the_kernel_s_kill_is_told(case: Case) -> None:
    needs(case, "memory_bytes")
    found, _ = await case.end("exec tail /dev/zero", limits=Limits(memory_bytes=64 * MIB))
    assert found == Exit(signal="SIGKILL", oom=True)
    # To be killed by somebody is something else.
    running, made = await case.start(STUBBORN, limits=Limits(memory_bytes=64 * MIB))
    await up(made)
    assert await running.stop("SIGTERM", 0) == Exit(signal="SIGKILL")


async def test_its_share_of_the_processor_is_limited(case: Case) -> None:
    needs(case, "cpu_cores")
    running, made = await case.start("echo up; while :; do :; done", limits=Limits(cpu_cores=0.3))
    await up(made)
    first, began_s = await running.usage(), time.monotonic()
    assert first is not None
    async with asyncio.timeout(DEADLINE_S):
        while (used := await running.usage()) is None or used.cpu_s < first.cpu_s + 0.6:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    # 0.6 s of 0.3 cores take 2 s; the share of one period may have been saved up.
    assert time.monotonic() - began_s >= 1.7
    await running.stop("SIGTERM", 0)


async def test_the_number_of_its_processes_is_limited(case: Case) -> None:
    needs(case, "pids")
    mark = f"9{time.monotonic_ns() % 10**9}"
    script = f"while sleep {mark} & do :; done 2>/dev/null"
    running, _ = await case.start(
        f"trap '' TERM; ({script}); echo up; sleep {mark}", limits=Limits(pids=16)
    )
    await until(lambda: len(living(mark)) >= 10)
    assert len(living(mark)) <= 16
    await running.stop("SIGTERM", 0)
    assert living(mark) == []


async def test_its_processors_are_its_own(case: Case) -> None:
    _, made = await case.end("cat /proc/self/status", cpus=(0,))
    lines = dict(line.split(":", 1) for line in said(made).splitlines())
    assert lines["Cpus_allowed_list"].strip() == "0"


async def test_the_suite_s_work_is_what_the_driver_s_schema_allows(case: Case) -> None:
    assert isinstance(case.work("exit 0").run, case.driver.settings)
    assert dataclasses.is_dataclass(case.driver.settings)
