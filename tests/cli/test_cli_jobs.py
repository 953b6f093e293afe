"""``farshore job`` against a center that a test moves: made, followed, steered, seen."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cli.job_center import move
from cli.job_documents import job, node, rollout, wave
from farshore_center.cli.job_watch import happened
from typer.testing import Result

if TYPE_CHECKING:
    from cli.conftest import ContractCenter

PROGRAM = str(Path(sys.executable).with_name("farshore"))
DEADLINE_S = 30

Cli = Callable[..., Result]


def test_a_job_is_made_from_words_options_and_a_file(
    center: "ContractCenter", cli: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("name: from the file\nrules:\n  soak_s: 60\n  waves: {sizes: [1, 10%]}\n")
    made = cli(
        "job", "create", "group:eu/**", "exec", "--file", str(file), "--approval", "--author", "ada",
        "--", "uptime", "-p",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    assert made.stdout == "01kx2  from the file: running\n"
    assert made.stderr == f"follow it: farshore --url {center.url} job watch 01kx2\n"
    assert center.asked[0][:2] == ("POST", "/jobs")
    assert center.asked[0][3] == {
        "name": "from the file", "selector": "group:eu/**", "author": "ada",
        "command": {"verb": "exec", "args": {"argv": ["uptime", "-p"]}},
        "rules": {"soak_s": 60, "waves": {"sizes": [1, "10%"]}, "approval": True},
    }  # fmt: skip


def test_a_job_with_a_cron_rule_is_not_followed(center: "ContractCenter", cli: Cli) -> None:
    made = cli("job", "run", "--all", "ping", "--cron", "0 3 * * 1")
    assert made.exit_code == 0
    assert made.stdout == "01kx2  ping: scheduled\n"
    assert f"farshore --url {center.url} job list --parent 01kx2\n" in made.stderr


def test_a_refused_field_is_named(cli: Cli) -> None:
    refused = cli("job", "create", "label.nobody=1", "ping")
    assert refused.exit_code == 2
    assert "  selector: it means no node now" in refused.stderr


@pytest.mark.parametrize("name", ["create", "run", "preview"])
def test_a_job_that_makes_no_sense_asks_nobody(
    center: "ContractCenter", cli: Cli, name: str
) -> None:
    wrong = cli("job", name, "pi-1", "ping", "--soak", "soon")
    assert wrong.exit_code == 2
    assert "--soak 'soon'" in wrong.stderr
    assert center.asked == []


def test_a_preview_shows_waves_and_what_can_not_be_met(center: "ContractCenter", cli: Cli) -> None:
    center.preview = {
        "nodes": 40, "opens_at": None,
        "faults": [{"field": "rules.deadline_s", "detail": "too short", "expected": "90 s"}],
        "waves": [{"number": 1, "size": 1, "nodes": 1, "names": ["pi-7"]},
                  {"number": 2, "size": 39, "nodes": 39, "names": ["pi-1", "pi-2", "pi-3"]}],
    }  # fmt: skip
    seen = cli("job", "preview", "--all", "ping")
    assert seen.exit_code == 1
    assert seen.stdout == (
        "WAVE  NODES  FOR EXAMPLE\n"
        "   1      1  pi-7\n"
        "   2     39  pi-[1-3] and 36 more\n"
        "rules.deadline_s: too short (expected 90 s)\n"
        "40 nodes; none could ever be told\n"
    )
    center.preview |= {"faults": [], "opens_at": "2026-03-01T10:00:00Z"}
    assert cli("job", "preview", "--all", "ping").exit_code == 0
    assert json.loads(cli("job", "preview", "--all", "ping", "--json").stdout) == center.preview


def test_jobs_are_listed_with_what_they_wait_for(center: "ContractCenter", cli: Cli) -> None:
    assert cli("job", "list").stdout == "no jobs yet: farshore job create --help\n"
    center.jobs = {"01kx2": rollout()}
    line = cli("job", "list").stdout.splitlines()[1].split("  ")
    words = [word.strip() for word in line if word.strip()]
    assert words[0:2] == ["01kx2", "running"]
    assert words[3:] == ["3", "10", "40", "1", "closer look", "3 nodes that are under way"]
    assert cli("job", "list", "--state", "halted").stdout == "no jobs\n"
    assert center.asked[-1][2]["state"] == "halted"
    assert json.loads(cli("job", "list", "--json").stdout)["items"][0]["id"] == "01kx2"


def test_a_job_is_shown_with_what_failed_in_it(center: "ContractCenter", cli: Cli) -> None:
    center.jobs = {"01kx2": rollout()}
    center.job_nodes = [
        node("pi-3", "timed_out", "still running after 30 s", 2), node("pi-4", "succeeded")
    ]  # fmt: skip
    shown = cli("job", "show", "01kx2").stdout
    assert "wave 2   4/4  " in shown
    assert "1 node timed_out: pi-3\n    still running after 30 s\n" in shown
    assert "pi-4" not in shown
    assert "…" not in shown
    assert json.loads(cli("job", "show", "01kx2", "--json").stdout) == center.jobs["01kx2"]
    missing = cli("job", "show", "01kx9")
    assert missing.exit_code == 1
    assert "there is no job '01kx9'" in missing.stderr


def test_nodes_of_a_job_by_state_and_wave(center: "ContractCenter", cli: Cli) -> None:
    center.jobs = {"01kx2": rollout()}
    center.job_nodes = [
        node("pi-3", "failed", "exit code 1", 1), node("pi-4", "succeeded", None, 2),
        {**node("pi-5", "waiting", "its window opens at night", 2), "wave": None, "command": None},
    ]  # fmt: skip
    lines = cli("job", "nodes", "01kx2").stdout.splitlines()
    assert [line.split()[:4] for line in lines[1:4]] == [
        ["pi-3", "1", "failed", "1"],
        ["pi-4", "2", "succeeded", "1"],
        ["pi-5", "-", "waiting", "1"],
    ]
    assert "its window opens at night" in lines[3]
    assert lines[4] == "3 nodes: 1 failed, 1 succeeded, 1 waiting"
    some = cli("job", "nodes", "01kx2", "--state", "failed,succeeded", "--wave", "2")
    assert some.stdout.splitlines()[-1] == "1 node: 1 succeeded"


def test_the_history_says_who_did_what(center: "ContractCenter", cli: Cli) -> None:
    center.jobs = {"01kx2": rollout()}
    steps = [(None, None, "running", "center"), (None, 2, "approved", "grace"),
             ("pi-3", 2, "failed", "center")]  # fmt: skip
    center.job_history = [
        {
            "id": n,
            "at": f"T{n}",
            "node": name,
            "wave": number,
            "state": to,
            "reason": None,
            "by": by,
        }
        for n, (name, number, to, by) in enumerate(steps)
    ]
    lines = cli("job", "history", "01kx2").stdout.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["T0", "the", "job", "running", "center", "-"],
        ["T1", "wave", "2", "approved", "grace", "-"],
        ["T2", "pi-3", "failed", "center", "-"],
    ]


def test_a_person_steers_a_job(center: "ContractCenter", cli: Cli) -> None:
    center.jobs = {"01kx2": rollout() | {"can": ["approve", "pause", "resume", "abort"]}}
    center.stays = {
        "touched": 3, "counts": {"succeeded": 2, "failed": 1, "waiting": 9}, "under_way": 1,
        "nodes": ["pi-1", "pi-2", "pi-3"],
    }  # fmt: skip
    told = cli("job", "approve", "01kx2", "--wave", "2", "-m", "looks well", "--author", "grace")
    assert told.stdout == "01kx2  closer look: running, wave 2 was approved\n"
    assert center.asked[-1][3] == {"author": "grace", "message": "looks well", "wave": 2}
    assert cli("job", "pause", "01kx2").stdout == "01kx2  closer look: paused\n"
    cli("job", "resume", "01kx2", "--deadline", "2h", "--author", "grace")
    assert center.asked[-1][3] == {"author": "grace", "deadline_s": 7200.0}
    assert cli("job", "abort", "01kx2").stdout == (
        "01kx2  closer look: aborted\n"
        "stays: 3 nodes as touched: 2 succeeded, 1 failed; 1 still under way\n"
        "  pi-[1-3]\n"
    )
    refused = cli("job", "rollback", "01kx2")
    assert refused.exit_code == 1
    assert "the job is aborted: it can approve" in refused.stderr


@pytest.fixture
def following(
    center: "ContractCenter", environment: dict[str, str], request: pytest.FixtureRequest
) -> Iterator["subprocess.Popen[str]"]:
    """A ``farshore job run`` that has subscribed."""
    args = [PROGRAM, "job", "run", "--all", "ping", *request.param]
    pipe = subprocess.PIPE
    with subprocess.Popen(args, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        timer = threading.Timer(DEADLINE_S, process.kill)
        timer.start()
        try:
            assert center.subscribed.wait(DEADLINE_S)
            yield process
        finally:
            timer.cancel()
            process.kill()


@pytest.mark.processes
@pytest.mark.parametrize("following", [[]], indirect=True)
def test_following_on_a_pipe_tells_what_happens_and_ends_with_the_picture(
    center: "ContractCenter", following: "subprocess.Popen[str]"
) -> None:
    assert ("GET", "/events", "01kx2") in [
        (method, path, params.get("job")) for method, path, params, _ in center.asked
    ]
    assert following.stdout is not None
    assert following.stdout.readline().split(maxsplit=1)[1] == "running\n"
    move(center, wave=1, waves=[wave(1, 1, "open", active=1), wave(2, 1, "planned")])
    assert following.stdout.readline() == "2026-03-01T10:00:00.002Z  wave 1 opened: 1 node\n"
    # What came in between two looks is told all the same.
    second = wave(2, 1, "ended", failed=1) | {"approved_by": "grace"}
    center.job_nodes = [node("pi-2", "failed", "exit code 1", 2)]
    move(
        center, state="halted", reason="a rule", wave=2, touched=2,
        waves=[wave(1, 1, "ended", succeeded=1), second], counts={"succeeded": 1, "failed": 1},
    )  # fmt: skip
    out, err = following.communicate(timeout=DEADLINE_S)
    assert out.splitlines()[:3] == [
        "2026-03-01T10:00:03.900Z  wave 1 ended: 1 succeeded",
        "2026-03-01T10:00:00.002Z  wave 2 opened: 1 node, approved by grace",
        "2026-03-01T10:00:03.900Z  wave 2 ended: 1 failed",
    ]
    assert out.splitlines()[3].split(maxsplit=1)[1] == "halted: a rule"
    assert "1 node failed: pi-2\n    exit code 1\n" in out
    assert following.returncode == 1
    assert err == ""


def test_of_a_job_that_goes_on_for_a_while_only_the_news_are_told() -> None:
    before = rollout()
    assert list(happened(None, before, "NOW")) == ["NOW  running"]
    assert list(happened(before, before, "NOW")) == []
    after = {**before, "waves": [*before["waves"][:2], wave(3, 8, "ended", succeeded=8)]}
    after |= {"state": "awaiting_approval", "reason": "wave 4 waits for a person"}
    assert list(happened(before, after, "NOW")) == [
        "2026-03-01T10:00:03.900Z  wave 3 ended: 8 succeeded",
        "NOW  awaiting_approval: wave 4 waits for a person",
    ]


@pytest.mark.processes
@pytest.mark.parametrize("following", [["--json"]], indirect=True)
def test_one_document_at_the_end(
    center: "ContractCenter", following: "subprocess.Popen[str]"
) -> None:
    move(center, state="succeeded", counts={"succeeded": 2})
    out, _ = following.communicate(timeout=DEADLINE_S)
    assert json.loads(out) == center.jobs["01kx2"]
    assert following.returncode == 0


@pytest.mark.processes
@pytest.mark.parametrize("following", [[], ["--json"]], indirect=True)
def test_ctrl_c_detaches_from_a_job(
    center: "ContractCenter", following: "subprocess.Popen[str]"
) -> None:
    following.send_signal(signal.SIGINT)
    out, err = following.communicate(timeout=DEADLINE_S)
    assert following.returncode == 130
    assert f"  see it again: farshore --url {center.url} job watch 01kx2\n" in err
    assert f"  end it:       farshore --url {center.url} job abort 01kx2\n" in err
    assert "Traceback" not in err
    assert center.jobs["01kx2"]["state"] == "running"
    if out.startswith("{"):
        assert json.loads(out)["state"] == "running"


@pytest.mark.parametrize(
    ("before", "after", "undone", "code"),
    [
        ("running", "succeeded", 0, 0),
        ("running", "aborted", 0, 1),
        ("rolling_back", "rolled_back", 0, 0),
        ("rolling_back", "rolled_back", 1, 1),
        ("running", "rolled_back", 0, 1),
    ],
)
def test_the_exit_code_says_whether_it_went_as_was_wanted(
    center: "ContractCenter", cli: Cli, before: str, after: str, undone: int, code: int
) -> None:
    center.jobs = {"01kx2": job(state=before, counts={"undone": 1})}
    if undone:
        center.job_nodes = [node("pi-1", "undo_failed", "exit code 1")]

    def end() -> None:
        assert center.subscribed.wait(DEADLINE_S)
        move(center, state=after, counts={"undone": 1, "undo_failed": undone})

    thread = threading.Thread(target=end)
    thread.start()
    assert cli("job", "watch", "01kx2").exit_code == code
    thread.join(DEADLINE_S)


def test_without_live_events_the_job_is_looked_at(
    center: "ContractCenter", cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farshore_center.cli.follow.POLL_S", 0.05)
    center.sse = False
    center.jobs = {"01kx2": job()}
    timer = threading.Timer(0.5, lambda: move(center, state="succeeded"))
    timer.start()
    assert cli("job", "show", "01kx2", "--follow").exit_code == 0
    timer.join(DEADLINE_S)
