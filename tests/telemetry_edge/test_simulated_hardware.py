"""Simulated machines: repeatable, plausible, in the real collectors' names, and cheap."""

from __future__ import annotations

import json
import statistics
import time
from itertools import pairwise

import pytest
from farshore_edge.telemetry.collectors.catalogue import entry_of
from farshore_edge.telemetry.collectors.model import Sample
from farshore_sim.errors import SimError
from farshore_sim.hardware import SimulatedHardware
from farshore_sim.hardware.profiles import PROFILES
from farshore_sim.hardware.signals import Rhythm
from hypothesis import given
from hypothesis import strategies as st

START_S = 1_763_800_000.0
DAY_S = 86_400.0
NAMES = sorted(PROFILES)

# A sample costs some tens of microseconds; what is promised leaves room for a busy machine.
NODE_SAMPLE_BUDGET_S = 250e-6


class Clock:
    def __init__(self, now_s: float = START_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def machine(
    clock: Clock, profile: str | None, *, seed: int = 1, node: str = "n1"
) -> SimulatedHardware:
    return SimulatedHardware(
        node=node, seed=seed, now_s=clock, profile=profile, boot_s=START_S - DAY_S
    )


def sample_at(hardware: SimulatedHardware, clock: Clock, t_s: float) -> Sample:
    clock.now_s = t_s
    sample: Sample = {}
    for collector in hardware.collectors():
        sample |= collector.sample()
    return sample


times = st.floats(min_value=START_S - DAY_S, max_value=START_S + 400 * DAY_S)


@pytest.mark.parametrize("profile", NAMES)
def test_every_simulated_series_is_one_that_a_real_host_has(profile: str) -> None:
    clock = Clock()
    sample = sample_at(machine(clock, profile), clock, START_S)
    assert [series for series in sample if entry_of(series) is None] == []
    assert all(type(value) is float for value in sample.values())


@given(profile=st.sampled_from(NAMES), seed=st.integers(), t_s=times, detour=times)
def test_same_seed_and_time_give_the_same_bytes(
    profile: str, seed: int, t_s: float, detour: float
) -> None:
    here, there = Clock(), Clock()
    one, other = machine(here, profile, seed=seed), machine(there, profile, seed=seed)
    sample_at(other, there, detour)  # what was asked before must not matter
    assert json.dumps(sample_at(one, here, t_s)) == json.dumps(sample_at(other, there, t_s))
    assert json.dumps(one.facts()) == json.dumps(other.facts())


def test_another_seed_or_node_is_another_machine() -> None:
    clock = Clock()
    samples = [
        sample_at(machine(clock, "kiosk", seed=seed, node=node), clock, START_S)
        for seed, node in ((1, "n1"), (2, "n1"), (1, "n2"))
    ]
    assert len({sample["mem.used_bytes"] for sample in samples}) == 3
    hashes = {machine(clock, "kiosk", node=node).facts()["machine_id_hash"] for node in "ab"}
    assert len(hashes) == 2


@given(profile=st.sampled_from(NAMES), seed=st.integers(0, 99), t_s=times, gap=st.floats(0, 9e5))
def test_counters_and_uptime_never_fall(profile: str, seed: int, t_s: float, gap: float) -> None:
    clock = Clock()
    hardware = machine(clock, profile, seed=seed)
    earlier, later = sample_at(hardware, clock, t_s), sample_at(hardware, clock, t_s + gap)
    for series, value in earlier.items():
        if "_total" in series or series == "uptime_s":
            assert 0 <= value <= later[series], series


def test_time_is_quantised_so_that_rounding_can_not_turn_a_counter_back() -> None:
    clock = Clock()
    hardware = machine(clock, "gpu-box")
    first, same = (sample_at(hardware, clock, START_S + part) for part in (0.001, 0.009))
    assert first == same
    assert sample_at(hardware, clock, START_S + 1) != first


@given(offset=st.floats(0, 1), phase=st.floats(0, 1), t_s=times)
def test_an_average_is_that_of_the_rhythm_it_belongs_to(
    offset: float, phase: float, t_s: float
) -> None:
    rhythm = Rhythm(PROFILES["kiosk"].load, offset=offset, phase=phase)
    steps = [rhythm.at(t_s - 120 + (n + 0.5) / 4) for n in range(480)]
    assert rhythm.average(t_s, 120.0) == pytest.approx(statistics.fmean(steps), abs=1e-3)


@given(profile=st.sampled_from(NAMES), seed=st.integers(0, 999), t_s=times)
def test_values_are_possible_ones(profile: str, seed: int, t_s: float) -> None:
    clock = Clock()
    sample = sample_at(machine(clock, profile, seed=seed), clock, t_s)
    for series, value in sample.items():
        if "percent" in series:
            assert 0 <= value <= 100, series
        elif "celsius" in series:
            assert 20 <= value <= 100, series
        else:
            assert value >= 0, series
    assert sample["mem.used_bytes"] + sample["mem.available_bytes"] == sample["mem.total_bytes"]


@pytest.mark.parametrize("profile", NAMES)
def test_temperature_follows_the_load(profile: str) -> None:
    clock = Clock()
    hardware = machine(clock, profile)
    sensor = f"temp.celsius{{sensor={PROFILES[profile].sensors[0].name}}}"
    series = [sample_at(hardware, clock, START_S + n * 300) for n in range(288)]
    warmth, load = [s[sensor] for s in series], [s["load.1m"] for s in series]
    assert statistics.correlation(warmth, load) > 0.8


@pytest.mark.parametrize("profile", NAMES)
def test_load_varies_over_the_day_and_bursts(profile: str) -> None:
    clock = Clock()
    hardware = machine(clock, profile)
    use = [sample_at(hardware, clock, START_S + n * 300)["cpu.percent"] for n in range(288)]
    assert max(use) - min(use) > 25
    assert len(set(use)) > 100


def test_a_battery_is_used_up_and_charged() -> None:
    clock = Clock()
    hardware = machine(clock, "robot-with-battery")
    series = [sample_at(hardware, clock, START_S + n * 60) for n in range(720)]
    levels = [s["battery.percent"] for s in series]
    assert min(levels) < 25
    assert max(levels) > 90
    for before, after in pairwise(series):
        change = after["battery.percent"] - before["battery.percent"]
        if before["battery.plugged"] == after["battery.plugged"]:
            assert change >= 0 if after["battery.plugged"] else change <= 0


def test_a_reboot_starts_counters_and_uptime_again() -> None:
    clock = Clock()
    before = machine(clock, "kiosk")
    after = SimulatedHardware(node="n1", seed=1, now_s=clock, profile="kiosk")
    assert sample_at(before, clock, START_S)["uptime_s"] == DAY_S
    fresh = sample_at(after, clock, START_S)
    assert fresh["uptime_s"] == 0.0
    assert {value for series, value in fresh.items() if "_total" in series} == {0.0}
    assert before.facts()["boot_id"] != after.facts()["boot_id"]
    assert before.facts()["machine_id_hash"] == after.facts()["machine_id_hash"]


def test_a_clock_that_was_set_back_to_before_the_boot_is_survived() -> None:
    clock = Clock()
    sample = sample_at(machine(clock, "kiosk"), clock, 0.0)
    assert sample["uptime_s"] == 0.0
    assert all(value >= 0 for value in sample.values())


def test_the_seed_picks_a_profile_when_none_is_asked_for() -> None:
    picked = {machine(Clock(), None, node=f"n{n}").profile for n in range(100)}
    assert picked == set(PROFILES)


def test_an_unknown_profile_is_refused_by_name() -> None:
    with pytest.raises(SimError, match=r"'toaster'.*kiosk"):
        machine(Clock(), "toaster")


def test_a_thousand_nodes_cost_little() -> None:
    clock = Clock()
    nodes = [machine(clock, None, node=f"n{n}").collectors() for n in range(100)]
    took = []
    for tick in range(5):
        clock.now_s = START_S + 5 * tick
        start = time.process_time()
        for collectors in nodes:
            for collector in collectors:
                collector.sample()
        took.append((time.process_time() - start) / len(nodes))
    assert statistics.median(took) < NODE_SAMPLE_BUDGET_S
