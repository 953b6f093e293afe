"""``restart-agent`` and ``reboot`` are done once at most, and only a later start says that they were."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from edge.command_bench import Bench
from edge.edge_bench import FailingDatabase, eventually
from farshore_edge.cli import _put_away
from farshore_edge.commands.pledges import pledge_of
from farshore_edge.commands.verbs import cancel
from farshore_edge.commands.verbs.power import Now, Reboot, RestartAgent
from farshore_protocol.commands import CommandReport
from farshore_protocol.commands.lifecycle import FINAL
from hypothesis import given
from hypothesis import strategies as st


class Machine:
    """Counts what is asked of it; it does nothing by itself."""

    def __init__(self) -> None:
        self.id: str | None = "boot-1"
        self.reboots = self.restarts = 0
        self.refuses: str | None = None

    def boot_id(self) -> str | None:
        return self.id

    async def reboot(self, *, timeout_s: float) -> str | None:
        self.reboots += 1
        return self.refuses

    async def may_restart(self, *, timeout_s: float) -> str | None:
        return self.refuses

    def restart(self) -> None:
        self.restarts += 1


class Life:
    """One start of an agent, on a disk that outlives it."""

    def __init__(self, disk: FailingDatabase, machine: Machine, name: str) -> None:
        self.bench = Bench(disk)
        self.clock = self.bench.clock
        now = Now(boot=name, now_ms=self.clock.now_ms, monotonic_s=self.clock.monotonic_s)
        self.bench.handlers["restart-agent"] = RestartAgent(machine, now)
        self.bench.handlers["reboot"] = Reboot(machine, now)
        self.bench.handlers["cancel"] = cancel.cancel(self.bench.service.cancel)

    async def stop(self) -> None:
        await self.bench.service.stop()
        await self.bench.outbox.close()

    def last(self, command_id: str) -> CommandReport:
        return self.bench.reports(command_id)[-1]


@pytest.fixture
def disk() -> FailingDatabase:
    return FailingDatabase()


def pledged(disk: FailingDatabase, command_id: str) -> bool:
    row = disk.command(command_id)
    return row is not None and pledge_of(row.request) is not None


async def begun(
    disk: FailingDatabase, machine: Machine, verb: str, done: Callable[[], int], **more: Any
) -> Life:
    life = Life(disk, machine, "start-1")
    await life.bench.outbox.recover()
    life.bench.take(verb, id="c1", **more)
    await eventually(done)
    assert pledged(disk, "c1")
    return life


async def next_life(disk: FailingDatabase, machine: Machine, *, later_s: float = 3) -> Life:
    life = Life(disk, machine, "start-2")
    life.clock.advance(later_s)
    await life.bench.outbox.recover()
    await life.bench.service.recover()
    return life


async def test_a_restart_has_succeeded_when_the_next_start_says_so(disk: FailingDatabase) -> None:
    machine = Machine()
    life = await begun(disk, machine, "restart-agent", lambda: machine.restarts)
    await eventually(lambda: life.bench.reports("c1"))
    await life.stop()
    assert life.last("c1").state == "running"
    after = await next_life(disk, machine)
    await after.bench.idle()
    word = after.last("c1")
    assert (word.state, word.result) == (
        "succeeded",
        {"boot_before": "start-1", "boot": "start-2", "down_s": 3.0},
    )
    assert machine.restarts == 1
    await after.stop()
    third = await next_life(disk, machine)
    third.bench.take("restart-agent", id="c1")  # the center asks again: it is answered, not obeyed
    await eventually(lambda: len(third.bench.reports("c1")) >= 3)
    assert machine.restarts == 1
    assert third.last("c1").state == "succeeded"
    await third.stop()


async def test_a_restart_that_took_too_long_is_told(disk: FailingDatabase) -> None:
    machine = Machine()
    life = await begun(disk, machine, "restart-agent", lambda: machine.restarts, timeout_s=30)
    await life.stop()
    after = await next_life(disk, machine, later_s=31)
    await after.bench.idle()
    word = after.last("c1")
    assert (word.state, word.error and word.error.code) == ("failed", "late")
    assert "31 s, expected 30 s" in (word.error.message if word.error else "")
    await after.stop()


async def test_an_agent_that_could_not_start_again_is_left_running(disk: FailingDatabase) -> None:
    machine = Machine()
    machine.refuses = "batch_s = 'x': expected a number"
    life = Life(disk, machine, "start-1")
    life.bench.take("restart-agent", id="c1")
    await life.bench.idle()
    word = life.last("c1")
    assert (word.state, word.error and word.error.code) == ("failed", "would_not_start")
    assert machine.restarts == 0
    await life.stop()


async def test_a_restart_that_does_not_come_is_told_by_the_agent_that_still_runs(
    disk: FailingDatabase,
) -> None:
    machine = Machine()
    life = Life(disk, machine, "start-1")
    life.bench.take("restart-agent", id="c1", timeout_s=0.05)
    await life.bench.idle()
    word = life.last("c1")
    assert (word.state, word.error and word.error.code) == ("failed", "not_restarted")
    await life.stop()


async def test_a_reboot_has_succeeded_when_the_kernel_has_booted_anew(
    disk: FailingDatabase,
) -> None:
    machine = Machine()
    life = await begun(disk, machine, "reboot", lambda: machine.reboots)
    await life.stop()
    machine.id = "boot-2"
    after = await next_life(disk, machine)
    await after.bench.idle()
    word = after.last("c1")
    assert word.state == "succeeded"
    assert word.result == {"boot_id_before": "boot-1", "boot_id": "boot-2", "down_s": 3.0}
    assert machine.reboots == 1
    await after.stop()


async def test_only_the_agent_started_anew_and_the_machine_never_boots(
    disk: FailingDatabase,
) -> None:
    machine = Machine()
    life = await begun(disk, machine, "reboot", lambda: machine.reboots, timeout_s=3.2)
    await life.stop()
    after = await next_life(disk, machine, later_s=3.0)
    assert after.bench.service.running() == ["c1"], "it may still be going down"
    await after.bench.idle()
    word = after.last("c1")
    assert (word.state, word.error and word.error.code) == ("failed", "not_rebooted")
    assert machine.reboots == 1, "it is not asked again"
    await after.stop()


async def test_an_agent_that_was_killed_while_it_waits_says_the_end_later(
    disk: FailingDatabase,
) -> None:
    machine = Machine()
    life = await begun(disk, machine, "reboot", lambda: machine.reboots)
    second = await next_life(disk, machine)
    await second.stop()
    machine.id = "boot-2"
    third = await next_life(disk, machine)
    await third.bench.idle()
    assert third.last("c1").state == "succeeded"
    assert machine.reboots == 1
    await third.stop()
    await life.stop()


async def test_killed_before_the_pledge_nothing_was_done_and_nothing_is(
    disk: FailingDatabase,
) -> None:
    machine = Machine()
    life = Life(disk, machine, "start-1")
    asked = asyncio.Event()

    async def never(*, timeout_s: float) -> str | None:
        asked.set()
        await asyncio.Event().wait()
        return None

    machine.may_restart = never  # type: ignore[method-assign] # it is killed while it looks
    life.bench.take("restart-agent", id="c1")
    async with asyncio.timeout(10):
        await asked.wait()
    assert not pledged(disk, "c1")
    after = await next_life(disk, machine)
    await after.bench.idle()
    assert after.last("c1").state == "interrupted"
    assert machine.restarts == 0
    await after.stop()
    await life.stop()


@pytest.mark.parametrize("verb", ["restart-agent", "reboot"])
async def test_what_can_not_be_pledged_is_not_done(disk: FailingDatabase, verb: str) -> None:
    machine = Machine()
    life = Life(disk, machine, "start-1")
    disk.fails_on = lambda change: any(pledge_of(row.request) for row in change.commands)
    life.bench.take(verb, id="c1")
    await life.bench.idle()
    word = life.last("c1")
    assert (word.state, word.error and word.error.code) == ("failed", "ledger_unwritable")
    assert machine.reboots == machine.restarts == 0
    await life.stop()


async def test_what_is_pledged_can_not_be_cancelled(disk: FailingDatabase) -> None:
    machine = Machine()
    life = await begun(disk, machine, "reboot", lambda: machine.reboots)
    life.bench.take("cancel", id="k1", args={"id": "c1"})
    await eventually(lambda: life.bench.reports("k1"))
    word = life.last("k1")
    assert word.result == {"id": "c1", "state": "running", "cancelled": False}
    assert life.bench.service.running() == ["c1"]
    await life.stop()


async def test_a_machine_that_refuses_or_has_no_boot_id_is_told_at_once(
    disk: FailingDatabase,
) -> None:
    machine = Machine()
    machine.refuses = "reboot ended with exit code 1: Access denied"
    life = Life(disk, machine, "start-1")
    life.bench.take("reboot", id="c1")
    await life.bench.idle()
    word = life.last("c1")
    assert (word.state, word.error and word.error.code) == ("failed", "reboot_failed")
    machine.id = None
    life.bench.take("reboot", id="c2")
    await life.bench.idle()
    word = life.last("c2")
    assert (word.state, word.error and word.error.code) == ("failed", "unsupported")
    await life.stop()
    after = await next_life(disk, machine)
    assert after.bench.service.running() == [], "what has ended is not resumed"
    await after.stop()


LIVES = st.lists(
    st.fixed_dictionaries(
        {
            "turns": st.integers(0, 30),  # of the event loop, before it is killed
            "boots": st.booleans(),
            "orderly": st.booleans(),
            "asked_again": st.booleans(),
        }
    ),
    min_size=1,
    max_size=5,
)


@given(LIVES)
def test_killed_at_any_moment_it_reboots_once_at_most_and_tells_the_truth(
    lives: list[dict[str, Any]],
) -> None:
    asyncio.run(_killed_again_and_again(lives))


async def _killed_again_and_again(lives: list[dict[str, Any]]) -> None:
    disk, machine = FailingDatabase(), Machine()
    boots, ended = 0, []
    for number, plan in enumerate(lives):
        life = Life(disk, machine, f"start-{number}")
        life.clock.advance(number)
        await life.bench.outbox.recover()
        await life.bench.service.recover()
        if number == 0 or plan["asked_again"]:
            life.bench.take("reboot", id="c1", timeout_s=3600)
        for _ in range(plan["turns"]):
            await asyncio.sleep(0)
        if plan["orderly"]:
            await life.bench.service.stop()
        ended.append(life)
        for task in list(life.bench.service._tasks.values()):  # killed: nothing of it runs on
            task.cancel()
        disk.commits_fail = not plan["orderly"]
        await asyncio.sleep(0.01)
        disk.commits_fail = False
        if plan["boots"]:
            boots += 1
            machine.id = f"boot-{number}-after"
    assert machine.reboots <= 1
    last = Life(disk, machine, "last")
    last.clock.advance(4000)
    await last.bench.outbox.recover()
    await last.bench.service.recover()
    await last.bench.idle()
    row = disk.command("c1")
    if row is not None:
        assert row.state in FINAL
        assert row.state != "succeeded" or boots
        assert row.state != "succeeded" or machine.id != "boot-1"
    assert machine.reboots <= 1
    for life in (*ended, last):
        await life.stop()


class Hanging:
    """An agent whose stop hangs, or breaks."""

    def __init__(self, broken: bool) -> None:
        self.broken = broken

    async def stop(self) -> None:
        if self.broken:
            raise OSError(5, "Input/output error")
        await asyncio.Event().wait()


@pytest.mark.parametrize("broken", [False, True])
async def test_an_agent_that_does_not_stop_is_started_anew_all_the_same(broken: bool) -> None:
    running = asyncio.create_task(asyncio.sleep(0))
    agent: Any = Hanging(broken)
    async with asyncio.timeout(20):
        await _put_away(agent, running, 0.05)
