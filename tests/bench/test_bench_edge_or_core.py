"""Edge or core: the scenario, what is made of its runs, and a small one of real programs."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from bench.edge_or_core import __main__ as program
from bench.edge_or_core import scenario
from bench.edge_or_core.findings import Burst, BurstRan, Ran, Tried, outcome, totals
from bench.edge_or_core.picture import picture
from bench.edge_or_core.scenario import CORE, KINDS, MOST_MOVED_S, SITES, SLOWNESS


def ran(node: str, took_s: float) -> Ran:
    return Ran(node=node, took_s=took_s, bytes=1, moved_s=0.1, computed_s=0.1, expected={CORE: 1.0})


def tried(auto: str, edge_s: float, core_s: float, auto_s: float | None = None) -> Tried:
    job = scenario.job(1, KINDS[0], SITES[0], 1.0)
    took_s = (core_s if auto == CORE else edge_s) if auto_s is None else auto_s
    return Tried(
        job=job,
        auto=ran(auto, took_s),
        edge=(ran(SITES[0].node, edge_s),),
        core=(ran(CORE, core_s),),
    )


def test_jobs_lie_on_both_sides_of_where_both_are_equal_and_none_takes_long() -> None:
    whole = scenario.whole(1)
    assert whole == scenario.whole(1) != scenario.whole(2)
    assert len({job.number for job in whole.jobs}) == len(whole.jobs) == 36
    sides = {True: 0, False: 0}
    for job in whole.jobs:
        moved_s = job.size_bytes / job.site.up_bytes_s
        assert 0 < moved_s <= MOST_MOVED_S + 0.01
        sides[job.kind.core_s + moved_s < SLOWNESS * job.kind.core_s] += 1
    assert min(sides.values()) >= 8
    assert {job.site for job in whole.jobs} == set(SITES)
    learned = {job.size_bytes for job in whole.earlier}
    assert not learned & {job.size_bytes for job in whole.jobs}, "of other sizes than what counts"


@pytest.mark.parametrize(
    ("chosen", "edge_s", "core_s", "right"),
    [
        (CORE, 2.0, 1.0, True),
        ("cam-a", 2.0, 1.0, False),
        ("cam-a", 1.09, 1.0, True),
        ("cam-a", 1.11, 1.0, False),
        ("cam-b", 1.0, 3.0, True),
    ],
)
def test_the_chosen_side_is_right_within_a_tenth(
    chosen: str, edge_s: float, core_s: float, right: bool
) -> None:
    assert tried(chosen, edge_s, core_s).right is right


def test_a_promise_holds_by_what_was_measured_and_not_by_what_was_chosen() -> None:
    good = [tried(CORE, 4.0, 1.0), tried("cam-a", 1.0, 4.0)]
    side, total = outcome(good).verdicts
    assert (side.measured, side.held) == (100.0, True)
    assert (total.measured, total.held) == (2.0 / 5.0, True)
    assert totals(good) == {"auto": 2.0, "edge": 5.0, "core": 5.0, "better": 2.0}
    side, total = outcome([*good, tried("cam-a", 9.0, 1.0)]).verdicts
    assert side.measured == pytest.approx(200 / 3)
    assert not side.held
    # It ran slowly where it was put: the total is what it then took, not what it should have taken.
    slow = outcome([replace(good[0], auto=ran(CORE, 7.0)), good[1]]).verdicts[1]
    assert not slow.held


def test_a_burst_is_judged_by_the_sum_of_what_each_took() -> None:
    def of(*done_s: float) -> BurstRan:
        return BurstRan(nodes=("cam-b",) * len(done_s), done_s=done_s)

    job = scenario.whole(1).burst
    found = Burst(job=job, auto=of(3.0, 6.0), edge=of(3.0, 7.0), core=of(9.0, 9.0))
    assert (found.verdict.measured, found.verdict.held) == (0.9, True)
    assert not replace(found, auto=of(3.0, 7.0)).verdict.held, "as good is not better"
    assert outcome([tried(CORE, 4.0, 1.0)], found).verdicts[-1] == found.verdict


async def test_three_jobs_by_real_programs_over_slow_links() -> None:
    found = await program.measure(1, True, lambda _: None)
    assert not found["failures"]
    for job in found["jobs"]:
        edge_s, core_s = min(job["edge_s"]), min(job["core_s"])
        # Far from the break-even, a machine that is busy does not turn the better side round.
        assert job["chosen"] == ("core" if job["bytes"] < 1_000_000 else "edge"), job
        assert job["expected_edge_s"] > 0
        assert job["expected_core_s"] > 0
        site = next(site for site in SITES if site.node == job["site"])
        assert min(job["core_moved_s"]) > 0.8 * job["bytes"] / site.up_bytes_s - 0.05, (
            "over the link"
        )
        assert edge_s > min(job["edge_computed_s"]) > 0
        assert core_s > min(job["core_computed_s"]) > 0
    burst = found["burst"]
    assert burst["auto"]["nodes"] == burst["edge"]["nodes"] == ["cam-b", "cam-b"], (
        "the second waits for the first, as the way to the core is longer"
    )
    assert all(node.startswith("core-") for node in burst["core"]["nodes"])
    assert burst["core"]["done_s"][-1] > 2 * 0.8 * burst["bytes"] / SITES[1].up_bytes_s, "one link"
    drawn = ET.fromstring(picture(found))  # noqa: S314 # our own drawing
    assert len(drawn.findall(".//{*}circle/{*}title")) == 3
