"""A thousand targets on one screen: the live picture, and the answers that are alike."""

from typing import Any

import pytest
from farshore_center.cli.gather import body, gathered, heading
from farshore_center.cli.progress import summary_of
from farshore_center.cli.run_panel import panel
from farshore_center.cli.screen import plain, width_of_line
from hypothesis import given
from hypothesis import strategies as st

NOW_MS = 1772359200_000 + 12_340


def target(node: str, state: str, text: str = "", **more: Any) -> dict[str, Any]:
    output = [{"offset": 0, "stream": more.pop("stream", "stdout"), "text": text}] if text else []
    return {
        "node": node, "state": state, "output": output, "updated_at": "2026-03-01T10:00:02Z", **more
    }  # fmt: skip


def command(targets: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "01kx2", "verb": "exec", "args": {"argv": ["uptime", "-p"]},
        "created_at": "2026-03-01T10:00:00Z", "expires_at": "2026-03-01T10:01:00Z",
        "targets": targets, "summary": summary_of(targets),
    }  # fmt: skip


def fleet() -> list[dict[str, Any]]:
    """1,000 nodes in the middle of it."""
    found = [target(f"sim-{n:04d}", "succeeded", "up 3 days\n") for n in range(1, 801)]
    error = {"code": "exit", "message": "exit code 3"}
    for n in (3, 7, 8):
        found[n - 1] = target(f"sim-{n:04d}", "failed", "no disk\n", error=error, stream="stderr")
    found += [target(f"sim-{n:04d}", "running") for n in range(801, 901)]
    found += [target(f"sim-{n:04d}", "queued") for n in range(901, 1001)]
    return found


PICTURE = """\
exec uptime -p  01kx2  1,000 targets  12.3s
█████████████████████████████████████████✗▒▒▒▒▒·····  800 of 1,000
797 succeeded, 100 queued, 100 running, 3 failed

(3) sim-[0003,0007-0008]  failed   2.00s  exit code 3: no disk
sim-0801                  running  12.3s  -
sim-0802                  running  12.3s  -
sim-0803                  running  12.3s  -
197 more under way
Ctrl-C detaches; the command goes on"""


def test_a_thousand_targets_are_ten_lines() -> None:
    lines = panel(command(fleet()), NOW_MS, 66, 10)
    assert plain(lines) == PICTURE


def test_few_targets_stand_there_each() -> None:
    two = [target("pi-1", "queued"), target("pi-2", "succeeded", "up\n")]
    assert plain(panel(command(two), NOW_MS, 80, 24)).splitlines()[4:] == [
        "pi-1  queued     12.3s  no word from the node yet; expires in 47s",
        "pi-2  succeeded  2.00s  up",
        "Ctrl-C detaches; the command goes on",
    ]


states = st.sampled_from(["queued", "running", "succeeded", "failed", "expired"])


@given(st.lists(states, max_size=120), st.integers(20, 120), st.integers(7, 40), st.booleans())
def test_the_picture_never_leaves_the_screen(
    names: list[str], width: int, height: int, away: bool
) -> None:
    targets = [target(f"n-{i}", name, f"text {i % 7}\n") for i, name in enumerate(names)]
    lines = panel(command(targets), NOW_MS, width, height, "the center is away" if away else "")
    assert len(lines) <= height + away
    assert all(width_of_line(line) <= width for line in lines)
    shown = plain(lines)
    assert "failed" not in names or width < 60 or "failed" in shown.split("\n\n")[1]


def test_equal_answers_are_told_once_failures_first() -> None:
    answers = gathered(fleet()[:800])
    assert [heading(each) for each in answers] == [
        "3 nodes failed: sim-[0003,0007-0008]",
        "797 nodes succeeded: sim-[0001-0002,0004-0006,0009-0800]",
    ]
    assert [body(each) for each in answers] == ["exit code 3\nno disk", "up 3 days"]


def test_both_streams_are_told_apart() -> None:
    both = target("pi-1", "succeeded")
    both["output"] = [
        {"offset": 0, "stream": "stdout", "text": "out\x1b\n"},
        {"offset": 5, "stream": "stderr", "text": "err\n"},
    ]
    assert body(gathered([both])[0]) == "out\\x1b\n[stderr]\nerr"


@pytest.mark.parametrize("output", [True, False])
def test_what_hardly_two_say_alike_is_told_by_its_number(output: bool) -> None:
    many = [
        target(f"pi-{n}", "succeeded", f"up {n} days\n" if output else "", result={"rtt_ms": n})
        for n in range(100)
    ]
    alike = [target(f"kiosk-{n}", "succeeded", "up for ever\n") for n in (1, 2)]
    answers = gathered([*many, *alike], 20)
    assert [heading(each) for each in answers] == [
        "2 nodes succeeded: kiosk-[1-2]", "100 nodes succeeded: pi-[0-99]",
    ]  # fmt: skip
    first = "up 0 days" if output else "rtt_ms=0"
    assert body(answers[1]) == f"(100 different answers; for example pi-0: {first})"


def test_failures_keep_their_own_words_as_long_as_they_fit() -> None:
    many = [target(f"pi-{n}", "failed", error={"message": f"code {n}"}) for n in range(30)]
    answers = gathered(many, 20)
    assert [body(each) for each in answers[:20]] == [f"code {n}" for n in _by_name(20)]
    assert body(answers[20]).startswith("(10 different answers; for example pi-")
    assert sum(len(each.nodes) for each in answers) == 30


def _by_name(number: int) -> list[int]:
    return sorted(range(30), key=lambda n: f"pi-{n}")[:number]
