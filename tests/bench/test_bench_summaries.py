"""Each measure's summary judges what it says it judges: literal figures in, verdicts out."""

import pytest

from bench import agent, config, fleet, ingest, jobs, presence, telemetry
from bench.agent import Look
from bench.fleet import CommandTimes, FleetFindings, Slice
from bench.ingest import Pass, Round
from bench.jobs import JobsFindings
from bench.model import Outcome, Verdict
from bench.presence import PresenceFindings
from bench.proc import Memory


def verdicts(outcome: Outcome) -> dict[str, Verdict]:
    return {verdict.name: verdict for verdict in outcome.verdicts}


def look(*, pss: float = 30, processes: int = 1, cpu: float = 0.3) -> Look:
    memory = Memory(pss=pss, rss=pss + 8, private=pss - 2)
    return Look(memory=memory, processes=processes, threads=3, cpu_percent=cpu)


def test_an_agent_is_judged_by_its_last_memory_its_worst_moment_and_its_mean_cpu() -> None:
    looks = [look(pss=50, cpu=2.5), look(processes=2, cpu=0.1), look(pss=39, cpu=0.1)]
    found = verdicts(agent.summarise(looks))
    assert (found["agent.memory"].measured, found["agent.memory"].held) == (39, True)
    assert (found["agent.processes"].measured, found["agent.processes"].held) == (2, False)
    assert found["agent.cpu"].measured == pytest.approx(0.9)
    assert found["agent.cpu"].held


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        (look(pss=40.1), "agent.memory"),
        (look(processes=2), "agent.processes"),
        (look(cpu=1.1), "agent.cpu"),
    ],
)
def test_an_agent_that_costs_more_than_promised(bad: Look, name: str) -> None:
    found = verdicts(agent.summarise([bad]))
    assert [v.name for v in found.values() if not v.held] == [name]


def test_a_configuration_is_judged_by_its_slowest_run() -> None:
    found = config.ConfigFindings(
        compute_s=(1.0, 2.1),
        effective_bytes=24_000,
        accepted_s=(0.1,),
        reported_s=(1.0, 4.9),
        played_s=(0.5, 9.0),
        sent_for_one=(1, 2),
        start_s=(0.5, 1.2),
        start_cpu_s=(0.4, 0.4),
    )
    held = {name: each.held for name, each in verdicts(config.summarise(found)).items()}
    assert held == {
        "config.compute": False,
        "config.reported": True,
        "config.one": False,
        "config.start": False,
    }


def fleet_findings(cores: float, *seconds: tuple[float, float]) -> FleetFindings:
    times = tuple(CommandTimes(seen_s=seen, committed_s=end) for seen, end in seconds)
    return FleetFindings(
        slices=(Slice(center_cores=cores, simulator_cores=0.2, records_per_s=100),),
        to_all=times,
        to_one=tuple(CommandTimes(seen_s=n / 1000, committed_s=0.001) for n in range(1, 101)),
        center_rss_mib=150,
        simulator_rss_mib=200,
        load=0.5,
    )


def test_a_fleet_command_is_judged_by_its_slowest_run_however_it_was_timed() -> None:
    held = verdicts(fleet.summarise(fleet_findings(0.9, (1.9, 1.0), (1.0, 2.0))))
    assert held["fleet.command"].measured == 2.0
    assert held["fleet.command"].held
    broken = verdicts(fleet.summarise(fleet_findings(1.0, (2.0, 1.0), (2.1, 1.0))))
    assert not broken["fleet.command"].held
    assert not broken["fleet.cpu"].held  # below one core is promised, not one core


def test_pings_to_one_node_are_told_by_percentiles() -> None:
    one = verdicts(fleet.summarise(fleet_findings(0.5, (1, 1))))["fleet.one"]
    assert (one.measured, one.promised, one.held) == (99.0, 50.0, False)
    figures = {f.name: f for f in fleet.summarise(fleet_findings(0.5, (1, 1))).figures}
    assert figures["fleet.ping.p50"].runs.values == (50.0,)
    assert figures["fleet.ping.p95"].runs.values == (95.0,)


def test_committed_is_from_creation_to_the_last_target() -> None:
    command = {
        "created_at": "2026-03-01T10:00:00.000Z",
        "targets": [
            {"history": [["queued", "2026-03-01T10:00:00.000Z"], ["succeeded", end]]}
            for end in ("2026-03-01T10:00:00.120Z", "2026-03-01T10:00:01.500Z")
        ],
    }
    assert fleet.committed_s(command) == pytest.approx(1.5)


def one_pass(rate: float) -> Pass:
    return Pass(messages=1000, seconds=1000 / rate, server_cpu_s=0.2, client_cpu_s=0.01)


def test_ingest_is_judged_by_the_median_of_the_pairs() -> None:
    # A slow moment of the machine: both sides of round 2 are slow, its ratio is not.
    rounds = [
        Round(stock=one_pass(stock), one=one_pass(one), many=one_pass(many))
        for stock, one, many in [(6000, 3600, 2400), (1000, 600, 400), (6000, 1200, 2400)]
    ]
    found = verdicts(ingest.summarise(rounds))
    assert found["ingest.one"].measured == pytest.approx(0.6)
    assert found["ingest.one"].held
    assert found["ingest.many"].measured == pytest.approx(0.4)
    assert not found["ingest.many"].held
    ours, stock = found["ingest.one"].sides
    assert [round(rate) for rate in ours.runs.values] == [3600, 600, 1200]
    assert [round(rate) for rate in stock.runs.values] == [6000, 1000, 6000]


def test_sizes_are_told_for_each_value() -> None:
    sizes = telemetry.Sizes(
        values=1000, history=1500, row_per_value=40_000, inbox=3300, compaction_s=0.5
    )
    speed = telemetry.Speed(batches_per_s=5000, hours=24, query_s=(0.006, 0.005))
    outcome = telemetry.summarise(sizes, speed)
    found = {f.name: f.runs.median for f in outcome.figures}
    assert not outcome.verdicts
    assert found["telemetry.history"] == 1.5
    assert found["telemetry.row_per_value"] == 40
    assert found["telemetry.ratio"] == pytest.approx(26.67, abs=0.01)
    assert found["telemetry.query"] == pytest.approx(5.5)


def absences(
    *,
    killed: tuple[float, ...] = (0.1,),
    frozen: float = 4,
    cut: float = 4,
    back: float = 5,
    answer: float = 0.02,
) -> PresenceFindings:
    return PresenceFindings(
        killed=killed,
        frozen=(1.0, frozen),
        cut=(1.0, cut),
        ready=1.0,
        back=back,
        arrivals=300,
        healthz=(0.01, 0.3),
        nodes=(0.02, answer),
    )


@pytest.mark.parametrize(
    ("findings", "broken"),
    [
        (absences(), []),
        (absences(killed=(*[0.1] * 99, 5.0)), []),
        (absences(killed=(*[0.1] * 98, 5.0, 5.0)), ["presence.killed"]),
        (absences(frozen=6.01), ["presence.frozen"]),
        (absences(cut=6.01), ["presence.cut"]),
        (absences(back=10.01), ["presence.back"]),
        (absences(answer=2.01), ["presence.answers"]),
    ],
    ids=[
        "all soon",
        "one of a hundred late",
        "two of a hundred",
        "frozen",
        "cut off",
        "back",
        "answers",
    ],
)
def test_presence_is_judged_by_99_of_100_kills_and_by_the_slowest_silence(
    findings: PresenceFindings, broken: list[str]
) -> None:
    assert [v.name for v in verdicts(presence.summarise(findings)).values() if not v.held] == broken


def test_the_busiest_second_is_that_of_the_steepest_rise() -> None:
    heard = [(1.0, 0.0), (1.5, 10.0), (2.4, 300.0), (2.6, 310.0), (9.0, 1000.0)]
    assert presence.busiest(heard) == 290.0


def test_a_bad_payload_is_judged_by_its_worst_run() -> None:
    def found(*touched: float) -> JobsFindings:
        return JobsFindings(
            touched=touched, halted_s=(1.0,), at_once_s=(1.0,), hundred_s=(2.0,), steps=(33,)
        )

    assert verdicts(jobs.summarise(found(1.0, 0.1)))["jobs.canary"].held
    assert not verdicts(jobs.summarise(found(0.1, 1.1)))["jobs.canary"].held
