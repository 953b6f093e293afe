"""A node with real processes: begun, watched, begun again, ended; and what can't be run is said."""

import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from edge.edge_bench import eventually
from edge_tasks.task_bench import World, grant, leased, of_tasks, with_pid
from farshore_edge.commands.verbs.table import process
from farshore_edge.tasks.drivers.process.starting import PACKAGES, SHIM
from farshore_edge.tasks.drivers.shim.system import boot_id, boot_s

pytestmark = pytest.mark.processes


def lives(pid: int) -> bool:
    return process(pid) is not None


async def test_a_service_runs_with_its_environment_and_is_told(
    world: World, tmp_path: Path
) -> None:
    await world.up()
    assert "process" in world.words("birth")[-1]["capabilities"]["drivers"]
    script = "echo $FARSHORE_TASK $FARSHORE_INSTANCE $FARSHORE_EPOCH $COLOR $FARSHORE_NODE; pwd; "
    script += "exec sleep 600"
    world.give(1, grant(argv=["sh", "-c", script], env={"COLOR": "red"}))
    await world.comes("running")
    # A slow machine tells them one by one.
    passed = [[*word.get("via", []), [word["state"], 0]] for word in world.events()]
    told = [state for states in passed for state, _ in states]
    assert told == ["preparing", "starting", "running"]
    home = tmp_path / "tasks" / "web.0.10"
    await eventually(lambda: (home / "output.log").read_text().count("\n") == 2)
    assert (home / "output.log").read_text() == f"web 0 10 red n1\n{home / 'files'}\n"
    await eventually(lambda: world.words("rep/tasks"))
    [held] = world.words("rep/tasks")[-1]["held"]
    assert (held["state"], held["pid"]) == ("running", await world.pid())
    assert world.words("rep/tasks")[-1]["highest"] == {"web/0": 10}
    assert world.agent is not None
    assert world.agent.status()["tasks"]["limits"]["by"] in ("cgroup1", "cgroup2", "rlimits")
    await world.stop()
    assert of_tasks(tmp_path), "the agent's end ends no task"
    await world.up()
    assert world.words("birth")[-1]["revisions"] == {"tasks": 1}
    assert len(world.events(state="running")) == 1, "it runs on, which is no event"


KILLS = 12


async def test_a_killed_process_runs_again_within_a_second(world: World) -> None:
    """As often as it is killed; the pause is that of a process which dies now and then. The median
    counts: one start may wait for a machine that is busy with all other tests."""
    await world.up()
    world.give(1, grant(restart={"delay_max_s": 0.2}))
    took = []
    for times in range(1, KILLS + 1):
        await eventually(lambda: world.held().get("web/0", {}).get("state") == "running")
        first = await world.pid()
        began_s = time.monotonic()
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: world.held()["web/0"]["pid"] not in (None, first))  # noqa: B023 # awaited here
        took.append(time.monotonic() - began_s)
        assert not lives(first)
        word = await world.comes("backing_off", times=times)
        assert (word["signal"], word["code"], word["restarts"]) == ("SIGKILL", "signal", times)
    print(f"{KILLS} kills, s until it ran again: {[round(each, 2) for each in sorted(took)]}")  # noqa: T201 # with -s
    assert sorted(took)[KILLS // 2] < 1.0, took


async def test_a_batch_ends_with_its_result_and_is_not_begun_again(world: World) -> None:
    await world.up()
    script = 'echo \'{"rows": 7}\' > "$FARSHORE_RESULT"'
    world.give(1, grant("ok", kind="batch", argv=["sh", "-c", script]))
    word = await world.comes("succeeded", "ok")
    assert (word["exit_code"], word["result"]) == (0, {"rows": 7})
    world.give(
        2,
        grant(
            "big", kind="batch", argv=["sh", "-c", 'head -c 9000 /dev/zero > "$FARSHORE_RESULT"']
        ),
        grant("no", kind="batch", argv=["sh", "-c", "exit 3"], restart={"policy": "never"}),
    )
    assert "more than 8192 bytes" in (await world.comes("succeeded", "big"))["reason"]
    word = await world.comes("failed", "no")
    assert (word["code"], word["exit_code"], word["reason"]) == ("exit", 3, "exit code 3")


async def test_restarts_are_counted_and_end(world: World) -> None:
    await world.up()
    restart = {"attempts": 2, "interval_s": 600, "delay_s": 0.01}
    world.give(1, grant(argv=["sh", "-c", "exit 5"], restart=restart))
    word = await world.comes("failed")
    assert word["code"] == "too_many_restarts"
    assert word["reason"] == "exit code 5; 2 restarts within 600 s, allowed are 2"
    assert word["restarts"] == 2


STUBBORN = "trap '' TERM; while :; do sleep 1; done"


async def test_all_of_a_task_is_ended_also_who_has_left_its_session(
    world: World, tmp_path: Path
) -> None:
    await world.up()
    note = tmp_path / "fled"
    script = f"setsid sh -c 'echo $$ > {note}; {STUBBORN}' & {STUBBORN}"
    world.give(1, grant(argv=["sh", "-c", script], stop_grace_s=0.5))
    await eventually(lambda: note.exists() and note.read_text().strip())
    assert len(of_tasks(tmp_path)) >= 3
    world.give(2, grant(argv=["sh", "-c", script], want="stop", reason="drained"))
    word = await world.comes("stopped")
    assert (word["code"], word["signal"]) == ("drained", "SIGKILL")
    assert not of_tasks(tmp_path)
    assert not lives(int(note.read_text()))


async def test_what_ends_orderly_has_its_grace(world: World, tmp_path: Path) -> None:
    await world.up()
    note = tmp_path / "note"
    script = (
        f"trap 'echo bye > {note}; exit 4' INT; echo up >> {note}; while :; do sleep 0.05; done"
    )
    spec: dict[str, Any] = {
        "argv": ["sh", "-c", script],
        "stop_signal": "SIGINT",
        "stop_grace_s": 60,
    }
    world.give(1, grant(**spec))
    await eventually(note.exists)
    world.give(2, grant(**spec, want="stop"))
    word = await world.comes("stopped")
    assert (word["exit_code"], note.read_text()) == (4, "bye\n")


async def test_what_its_first_process_has_left_is_ended_with_it(
    world: World, tmp_path: Path
) -> None:
    await world.up()
    world.give(1, grant(kind="batch", argv=["sh", "-c", "setsid -f sleep 600"]))
    await world.comes("succeeded")
    await eventually(lambda: not of_tasks(tmp_path))


async def test_what_is_asked_for_no_more_is_ended_and_forgotten(
    world: World, tmp_path: Path
) -> None:
    await world.up()
    world.give(1, grant(), grant("other"))
    pid = await world.pid()
    world.give(2, grant("other"))
    assert (await world.comes("stopped"))["code"] == "removed"
    assert not lives(pid)
    await eventually(lambda: not (tmp_path / "tasks" / "web.0.10").exists())
    assert world.held().keys() == {"other/0"}
    assert not world.events("other", state="stopped")
    await eventually(lambda: [row.id for row in world.database.tasks().rows] == ["other.0.10"])


async def test_a_newer_grant_begins_after_the_older_one_has_ended(
    world: World, tmp_path: Path
) -> None:
    await world.up()
    note = tmp_path / "note"
    script = f"trap 'sleep 0.3; echo -$FARSHORE_EPOCH >> {note}; exit' TERM; "
    script += f"echo +$FARSHORE_EPOCH >> {note}; "
    script += "while :; do sleep 0.02; done"
    world.give(1, grant(argv=["sh", "-c", script], epoch=10, stop_grace_s=60))
    await eventually(note.exists)
    world.give(2, grant(argv=["sh", "-c", script], epoch=11, stop_grace_s=60))
    await world.comes("running", epoch=11)
    await eventually(lambda: note.read_text().count("\n") == 3)
    assert note.read_text() == "+10\n-10\n+11\n"
    world.give(3, grant(argv=["sh", "-c", script], epoch=9))
    word = await world.comes("rejected", epoch=9)
    assert word["code"] == "old_epoch"
    assert "epoch 9 was granted before 11" in word["reason"]


BAD: list[tuple[dict[str, Any], str, str]] = [
    (grant(driver="wasm"), "no_driver", "driver wasm: this node has "),
    (grant(run={}), "bad_settings", "argv"),
    (grant(run={"argv": ["x"], "argh": 1}), "bad_settings", "run.argh: the driver process has no"),
    (grant(run={"argv": ["x", 5]}), "bad_settings", "run.argv[1]"),
    ({**grant(), "spec": {"kind": "service"}}, "bad_grant", "driver"),
    ({**grant(), "spec": None}, "bad_grant", "$.spec"),
]


@pytest.mark.parametrize(("word", "code", "text"), BAD)
async def test_what_cant_be_run_is_rejected_with_a_reason(
    world: World, word: dict[str, Any], code: str, text: str
) -> None:
    await world.up()
    world.give(1, word, grant("good", argv=["sleep", "600"]))
    told = await world.comes("rejected")
    assert told["code"] == code
    assert text in told["reason"]
    await world.comes("running", "good")


FAILING: list[tuple[dict[str, Any], str, str, str]] = [
    (
        {"argv": ["no-such-program"]},
        "backing_off",
        "no_program",
        "no-such-program can't be started",
    ),
    ({"argv": ["/etc/passwd"]}, "backing_off", "no_program", "Permission denied"),
    ({"argv": ["true"], "cwd": "nowhere"}, "backing_off", "no_folder", "there is no such folder"),
    ({"argv": ["true"], "user": "nobody-at-all"}, "failed", "no_user", "there is none here"),
]


@pytest.mark.parametrize(("run", "state", "code", "text"), FAILING)
async def test_what_cant_be_begun_says_why(
    world: World, run: dict[str, Any], state: str, code: str, text: str
) -> None:
    await world.up()
    world.give(1, grant(run=run))
    told = await world.comes(state)
    assert (told["code"], text in told["reason"]) == (code, True), told


def opened(folder: Path) -> None:
    """Others may pass through, from pytest's own folder on."""
    for each in (folder, *folder.parents):
        if len(each.parts) > 2:
            each.chmod(each.stat().st_mode | 0o011)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
async def test_another_user_runs_it_where_he_may_enter(world: World, tmp_path: Path) -> None:
    """pytest's folders are closed to others, and the task says so; the program itself would run."""
    await world.up()
    world.give(1, grant(kind="batch", run={"argv": ["sh", "-c", "id -u; pwd"], "user": "nobody"}))
    word = await world.comes("backing_off")
    assert (word["code"], "chmod o+x" in word["reason"]) == ("not_permitted", True)
    opened(tmp_path)
    await world.comes("succeeded")
    output = (tmp_path / "tasks" / "web.0.10" / "output.log").read_text()
    assert output.split("\n")[0] == str(pwd.getpwnam("nobody").pw_uid)


async def test_garbage_harms_nothing_and_old_documents_are_ignored(world: World) -> None:
    world.say("desired/tasks", {"rev": 9, "grants": [grant("retained")]}, retain=True)
    await world.up()
    for payload in (b"", b"{", b"x\x9c", b'{"rev":-1}', b"[" * 90_000, b'{"grants":[]}'):
        world.say("desired/tasks", payload)
        world.say("lease", payload)
    world.say("desired/tasks", {"rev": 2, "grants": [grant(), 5, {"task": "../x"}]})
    await world.comes("running")
    world.give(1)
    world.give(2, grant())
    await eventually(lambda: len(world.words("rep/tasks")) >= 1)
    assert world.held()["web/0"]["state"] == "running"
    assert {each["data"]["task"] for each in world.words("evt/task")} == {"web"}


async def test_health_restarts_what_hangs(world: World, tmp_path: Path) -> None:
    await world.up()
    well = tmp_path / "well"
    check = {"command": ["test", "-e", str(well)], "interval_s": 0.05, "failures": 2, "start_s": 60}
    world.give(1, grant(health=check))
    await eventually(lambda: world.held().get("web/0", {}).get("state") == "starting")
    first = await world.pid()
    assert not world.events(state="running"), "it has not passed yet"
    well.touch()
    await world.comes("running")
    well.unlink()
    word = await world.comes("backing_off")
    assert word["code"] == "unhealthy"
    assert "2 times in a row: exit code 1" in word["reason"]
    well.touch()
    await world.comes("running", times=2)
    assert await world.pid() != first


# Leases


async def test_without_a_lease_nothing_is_begun(world: World) -> None:
    world.renews = False
    await world.up()
    world.give(1, leased(3))
    await eventually(lambda: len(world.words("lease")) >= 3)
    assert world.held()["web/0"]["state"] == "preparing"
    assert world.words("lease")[-1]["held"] == [["web", 0, 10]]
    world.renews = True
    await world.comes("running")


async def test_it_has_ended_before_its_lease_and_never_again_without_a_new_grant(
    world: World, tmp_path: Path
) -> None:
    await world.up()
    world.give(1, leased(3))
    await world.comes("running")
    world.renews = False
    # The last request that was answered is that before the first that is not.
    unanswered = len(world.words("lease"))
    last_ms = world.words("lease")[-1]["up_ms"]
    word = await world.comes("stopped")
    now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert word["code"] == "lease_over"
    assert not of_tasks(tmp_path)
    assert now_s < last_ms / 1000 + 3 + 1, "told late, on a busy machine"
    assert len(world.words("lease")) > unanswered
    world.renews = True
    world.give(2, leased(3, epoch=11))
    await world.comes("running", epoch=11)


async def test_what_an_answer_leaves_out_is_ended_at_once(world: World) -> None:
    await world.up()
    world.give(1, leased(600), leased(600, task="other"))
    await world.comes("running")
    await world.comes("running", "other")
    world.renews = False
    asked = len(world.words("lease"))
    assert world.agent is not None
    world.agent._supervisor.birth_said()
    await eventually(lambda: len(world.words("lease")) > asked)
    request = world.words("lease")[-1]
    for boot in ("another", request["boot"]):
        word = {"boot": boot, "up_ms": request["up_ms"], "renewed": [["other", 0, 10]]}
        world.say("lease", word)
    assert (await world.comes("stopped"))["code"] == "lease_over"
    assert world.held()["other/0"]["state"] == "running"


@pytest.fixture
async def orphaned(world: World) -> World:
    """A leased task whose agent lets go of it without a word of how."""
    await world.up()
    world.give(1, leased(3))
    await world.comes("running")
    await world.stop()
    return world


async def test_where_no_agent_lives_its_shim_ends_it_with_its_lease(
    orphaned: World, tmp_path: Path
) -> None:
    assert of_tasks(tmp_path)
    _, stop_s, kill_s, end_s = (tmp_path / "tasks/web.0.10/lease").read_text().split()
    assert float(stop_s) < float(kill_s) < float(end_s)
    await eventually(lambda: not of_tasks(tmp_path))
    assert (tmp_path / "tasks/web.0.10/state/exit").exists()
    orphaned.renews = False
    await orphaned.up()
    assert (await orphaned.comes("stopped"))["code"] == "lease_over"


async def test_an_agent_in_time_takes_it_up_and_renews_its_lease(
    orphaned: World, tmp_path: Path
) -> None:
    before = of_tasks(tmp_path)
    await orphaned.up()
    lease = tmp_path / "tasks/web.0.10/lease"
    first = float(lease.read_text().split()[3])
    await eventually(lambda: float(lease.read_text().split()[3]) > first + 3)
    assert of_tasks(tmp_path) == before
    assert not orphaned.events(state="stopped")


async def test_a_killed_shim_takes_the_rest_with_it(world: World, tmp_path: Path) -> None:
    await world.up()
    world.give(1, grant())
    first = await world.pid()
    [other] = of_tasks(tmp_path) - {first}
    with_pid(other, signal.SIGKILL)
    word = await world.comes("backing_off")
    assert (word["code"], word["reason"]) == (
        "unseen",
        "it ended unseen, its exit code is not known",
    )
    await world.comes("running", times=2)
    assert not lives(first)


@pytest.mark.parametrize(("left_s", "begins"), [(-1.0, False), (600.0, True)])
def test_a_shim_begins_nothing_whose_lease_has_ended(
    tmp_path: Path, left_s: float, begins: bool
) -> None:
    """Its agent had a lease, and was frozen before it came to start the program."""
    (tmp_path / "number").write_text("1")
    end_s = boot_s() + left_s
    lease, note = tmp_path / "lease", tmp_path / "note"
    lease.write_text(f"{boot_id()} {end_s} {end_s} {end_s}\n")
    options = [f"lease={lease}", f"output={tmp_path / 'output'}", f"cwd={tmp_path}", "mark=NONE=1"]
    command = [sys.executable, "-I", "-S", "-c", SHIM, PACKAGES, str(tmp_path), "1", *options]
    done = subprocess.run(
        [*command, "--", "/bin/sh", "-c", f"echo began > {note}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.startswith("started " if begins else "over its lease has ended")
    assert (note.exists(), (tmp_path / "exit").exists()) == (begins, begins)
