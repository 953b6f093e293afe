"""A job's picture: readable at every width, and it says why and what is next."""

from typing import Any

import pytest
from cli.job_documents import job, node, rollout, wave
from farshore_center.cli.gather import gathered
from farshore_center.cli.job_view import gate_text, job_lines, rules_text, when
from farshore_center.cli.job_waves import few, wave_lines
from farshore_center.cli.screen import plain, width_of_line
from hypothesis import given
from hypothesis import strategies as st

NOW_MS = 1772359200_000 + 33_900

AT = {
    60: """\
wave 1   1/1  ████████████████████  ended
wave 2   4/4  ███████████████✗✗✗✗✗  ended, 1 timed_out, app…
wave 3   2/8  █████▒▒▒▒▒▒▒▒·······  3 under way
wave 4  0/16  ····················  planned
wave 5  0/11  ····················  planned
all     7/40  ███✗▒···············  1 timed_out, 6 succeede…""",
    80: """\
wave 1   1/1  ███████████████████████████  ended
wave 2   4/4  ████████████████████✗✗✗✗✗✗✗  ended, 1 timed_out, approved by grace
wave 3   2/8  ███████▒▒▒▒▒▒▒▒▒▒··········  3 under way
wave 4  0/16  ···························  planned
wave 5  0/11  ···························  planned
all     7/40  ████✗▒▒····················  1 timed_out, 6 succeeded, 3 active""",
    120: """\
wave 1   1/1  ██████████████████████████████████████████████████  ended
wave 2   4/4  ██████████████████████████████████████✗✗✗✗✗✗✗✗✗✗✗✗  ended, 1 timed_out, approved by grace
wave 3   2/8  ████████████▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒···················  3 under way
wave 4  0/16  ··················································  planned
wave 5  0/11  ··················································  planned
all     7/40  ████████✗▒▒▒▒·····································  1 timed_out, 6 succeeded, 3 active""",
}


@pytest.mark.parametrize("width", sorted(AT))
def test_the_bars_of_a_rollout(width: int) -> None:
    shown = plain(wave_lines(rollout(), NOW_MS, width, 12))
    assert shown == AT[width]
    assert all(len(line) <= width for line in shown.splitlines())


def test_a_whole_picture() -> None:
    assert plain(job_lines(rollout(), NOW_MS, 80)) == WHOLE


WHOLE = """\
closer look  01kx2  running
does       exec uptime -p
to         group:eu/** (40 nodes)
rules      waves 1, 10%, then each x2; window 0 2 * * * for 2h; at most 100 at
           once; 10% disrupted in eu; 75% must succeed; soak 1m; gate 90%
           state=online; gate cpu.percent <= 1.2x + 5; approval
made       by ada, 33s ago: after the outage

wave 1   1/1  ███████████████████████████  ended
wave 2   4/4  ████████████████████✗✗✗✗✗✗✗  ended, 1 timed_out, approved by grace
wave 3   2/8  ███████▒▒▒▒▒▒▒▒▒▒··········  3 under way
wave 4  0/16  ···························  planned
wave 5  0/11  ···························  planned
all     7/40  ████✗▒▒····················  1 timed_out, 6 succeeded, 3 active

waits for  3 nodes that are under way"""


def test_a_soak_counts_down() -> None:
    soaking = job(
        rules={"soak_s": 60.0}, wave=1,
        waves=[wave(1, 1, "ended", succeeded=1) | {"soaks_until": "2026-03-01T10:01:03.900Z"}],
        counts={"succeeded": 1}, total=1, touched=1,
    )  # fmt: skip
    assert "soaks for 30s more" in plain(job_lines(soaking, NOW_MS, 80))
    assert "soaks" not in plain(job_lines({**soaking, "state": "halted"}, NOW_MS, 80))
    assert "soaks" not in plain(job_lines(soaking, NOW_MS + 40_000, 80))


def test_a_stopped_job_says_why_what_stays_and_what_can_be_done() -> None:
    halted = job(
        state="halted", reason="1 of 1 node did not succeed; 100 % have to",
        waits_for="a person: resume, abort or roll back", can=["resume", "abort", "rollback"],
        waves=[wave(1, 1, "open", failed=1), wave(2, 39, "planned")], total=40, touched=1,
        counts={"failed": 1, "waiting": 39},
    )  # fmt: skip
    failures = gathered([node("pi-3", "failed", "exit code 1")])
    shown = plain(job_lines(halted, NOW_MS, 80, failures=failures, at=" --url http://c"))
    assert shown.split("\n\n")[2] == (
        "stopped    1 of 1 node did not succeed; 100 % have to\n"
        "waits for  a person: resume, abort or roll back\n"
        "stays      1 node as touched (1 failed); 39 nodes never touched\n"
        "1 node failed: pi-3\n"
        "    exit code 1\n"
        "you can    farshore --url http://c job resume 01kx2\n"
        "           farshore --url http://c job abort 01kx2\n"
        "           farshore --url http://c job rollback 01kx2"
    )


def test_a_picture_says_how_each_gate_was_judged_and_what_time_brings() -> None:
    gated = rollout() | {
        "gates": [
            {"holds": True, "detail": "5 of 5 touched nodes match state=online",
             "at": "2026-03-01T10:00:13.900Z"},
            {"holds": False, "detail": "cpu.percent: 90 of the touched nodes is not <= 20",
             "at": "2026-03-01T10:00:13.900Z"},
        ],
        "next": {"what": "the deadline of pi-17", "at": "2026-03-01T10:05:33.900Z"},
    }  # fmt: skip
    shown = plain(job_lines(gated, NOW_MS, 200))
    assert (
        "gate       90% state=online holds: 5 of 5 touched nodes match state=online (20s ago)\n"
        "gate       cpu.percent <= 1.2x + 5 is shut: cpu.percent: 90 of the touched nodes is not <= 20"
        " (20s ago)\n"
    ) in shown
    assert "next       the deadline of pi-17, 2026-03-01T10:05:33.900Z (in 5m)" in shown
    # What is said already is not said again.
    waits = {"waits_for": "its time: 2026-03-01T10:05:33.900Z"}
    assert "next  " not in plain(job_lines(gated | waits, NOW_MS, 200))


def test_what_comes_by_the_clock_is_told_with_how_far_it_is() -> None:
    later = job(
        state="scheduled", waits_for="its time: 2026-03-01T12:00:33.900Z", waves=[], total=3,
        touched=0, starts_at="2026-03-01T12:00:33.900Z", next_at="2026-03-02T03:00:00Z",
    )  # fmt: skip
    shown = plain(job_lines(later, NOW_MS, 80))
    assert "waits for  its time: 2026-03-01T12:00:33.900Z (in 2h)\n" in shown
    assert "next run   2026-03-02T03:00:00Z (in 16h59m)" in shown
    assert when("2026-03-01T10:00:03.900Z", NOW_MS) == "2026-03-01T10:00:03.900Z (30s ago)"


def test_a_job_with_a_cron_rule_has_no_nodes_yet() -> None:
    again = job(
        state="scheduled", waits_for="its next occurrence", total=0, touched=0,
        start={"at": None, "cron": "0 3 * * 1", "timezone": "Europe/Berlin"},
    )  # fmt: skip
    shown = plain(job_lines(again, NOW_MS, 80))
    assert "to         group:eu/** (as of each run)\nruns       0 3 * * 1 (Europe/Berlin)" in shown


def test_rules_are_told_as_they_are_typed() -> None:
    assert rules_text(rollout()["rules"]) == (
        "waves 1, 10%, then each x2; window 0 2 * * * for 2h; at most 100 at once; "
        "10% disrupted in eu; 75% must succeed; soak 1m; gate 90% state=online; "
        "gate cpu.percent <= 1.2x + 5; approval"
    )
    assert gate_text({"series": "s", "op": ">=", "factor": 1.0, "plus": -2.5}) == "s >= 1x - 2.5"


def test_many_waves_are_put_together_around_the_one_that_is_open() -> None:
    waves = [wave(n, 10, "ended", succeeded=9, failed=1) for n in range(1, 31)]
    waves += [wave(31, 10, "open", active=10)]
    waves += [wave(n, 10, "planned") for n in range(32, 51)]
    total = {"succeeded": 270, "failed": 30, "active": 10, "waiting": 190}
    shown = few(waves, 6)
    assert [(each.get("first"), each["number"]) for each in shown] == [
        (1, 28), (None, 29), (None, 30), (None, 31), (None, 32), (33, 50),
    ]  # fmt: skip
    assert shown[0]["counts"] == {"succeeded": 252, "failed": 28}
    lines = plain(wave_lines(job(waves=waves, counts=total, total=500), NOW_MS, 80, 6))
    assert [line.split("  ")[0].strip() for line in lines.splitlines()] == [
        "1-28", "wave 29", "wave 30", "wave 31", "wave 32", "33-50", "all",
    ]  # fmt: skip


STATES = st.dictionaries(
    st.sampled_from(["waiting", "active", "succeeded", "failed", "silent", "left", "undone"]),
    st.integers(1, 500),
)


@given(
    st.lists(st.tuples(st.sampled_from(["ended", "open", "planned"]), STATES), max_size=60),
    st.integers(60, 200),
    st.integers(3, 20),
)
def test_no_picture_is_wider_than_the_screen(
    waves: list[tuple[str, dict[str, int]]], width: int, at_most: int
) -> None:
    documents: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    for number, (name, found) in enumerate(waves, start=1):
        size = sum(found.values())
        documents.append(wave(number, size, name, **found))
        for each, n in found.items():
            counts[each] = counts.get(each, 0) + n
    total = sum(counts.values())
    given_job = job(waves=documents, counts=counts, total=total, message="word " * 40)
    lines = job_lines(given_job, NOW_MS, width, waves=at_most)
    assert all(width_of_line(line) <= width for line in lines)
    if documents:
        bars = wave_lines(given_job, NOW_MS, width, at_most)
        assert len(bars) <= at_most + 1
