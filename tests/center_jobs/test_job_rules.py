"""Windows in the node's own time zone, gates, and rules that can't be met."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from farshore_center.jobs import windows
from farshore_center.jobs.feasible import Member, faults
from farshore_center.jobs.gates import metric_verdict, selector_verdict
from farshore_center.jobs.rules import (
    Budget,
    CommandPayload,
    MetricGate,
    Rules,
    SelectorGate,
    Size,
    Spec,
    Start,
    Threshold,
    Waves,
    Window,
)

NIGHT = (Window(cron="0 2 * * *", duration_s=3600),)


def at(text: str, tz: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("moment", "tz", "is_open"),
    [
        ("2026-06-01T02:00", "UTC", True),
        ("2026-06-01T02:59", "UTC", True),
        ("2026-06-01T03:00", "UTC", False),
        ("2026-06-01T01:59", "UTC", False),
        ("2026-06-01T00:30", "Europe/Berlin", True),
        ("2026-06-01T17:10", "Asia/Tokyo", True),
    ],
)
def test_a_window_is_open_by_the_nodes_own_clock(moment: str, tz: str, is_open: bool) -> None:
    assert windows.is_open(NIGHT, windows.zone(tz), at(moment)) is is_open


def test_a_window_goes_over_midnight_and_opens_once_on_the_night_that_skips_it() -> None:
    late = (Window(cron="0 23 * * *", duration_s=4 * 3600),)
    berlin = windows.zone("Europe/Berlin")
    assert windows.is_open(late, berlin, at("2026-03-29T01:30", "Europe/Berlin"))
    # 02:00 does not exist on that night: the window opens when the clock jumps to 03:00.
    assert windows.is_open(NIGHT, berlin, at("2026-03-29T03:10", "Europe/Berlin"))


def test_when_a_window_opens_next() -> None:
    tokyo = windows.zone("Asia/Tokyo")
    found = windows.opens_ms(NIGHT, tokyo, at("2026-06-01T03:30", "Asia/Tokyo"))
    assert found == at("2026-06-02T02:00", "Asia/Tokyo")


@pytest.mark.parametrize("name", ["Mars/Olympus", "../../etc/passwd", "", None, "Europe"])
def test_a_time_zone_that_nobody_knows_is_the_fallback(name: str | None) -> None:
    assert windows.zone(name, "Europe/Berlin").key == "Europe/Berlin"


def spec(rules: Rules, **more: object) -> Spec:
    payload = CommandPayload(verb="ping", args={})
    return Spec(name="a job", selector="all", payload=payload, rules=rules, **more)  # type: ignore[arg-type]


MEMBERS = {f"n{number}": Member(group="eu/fra", timezone="Europe/Berlin") for number in range(4)}
SIZES = {"": 10, "eu": 8, "eu/fra": 4}
NOON = at("2026-06-01T12:00")


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        (Rules(success=Threshold(minimum=5)), "rules.success.minimum"),
        (Rules(budgets=(Budget(group="eu/fra", most=Size(percent=10)),)), "rules.budgets.0"),
        (Rules(gates=(MetricGate(series="cpu"),)), "rules.gates.0"),
        (
            Rules(waves=Waves(sizes=(Size(count=1),)), soak_s=60, deadline_s=240),
            "rules.deadline_s",
        ),
        (Rules(windows=(Window(cron="0 0 30 2 *", duration_s=60),)), "rules.windows.0.cron"),
        (Rules(windows=(Window(cron="tonight", duration_s=60),)), "rules.windows.0.cron"),
        (Rules(windows=NIGHT, deadline_s=3600), "rules.windows"),
        (Rules(timezone="Mars/Olympus"), "rules.timezone"),
    ],
)
def test_rules_that_cannot_be_met_are_refused(rules: Rules, field: str) -> None:
    found = faults(spec(rules), MEMBERS, SIZES, NOON)
    assert [each.field for each in found] == [field]
    assert found[0].detail
    assert found[0].expected


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"start": Start(cron="61 * * * *")}, "start.cron"),
        ({"start": Start(cron="0 0 31 4 *")}, "start.cron"),
        ({"start": Start(timezone="Nowhere")}, "start.timezone"),
        ({"start": Start(at_ms=1, cron="* * * * *")}, "start"),
        ({"following": True}, "rules.deadline_s"),
    ],
)
def test_a_start_that_cannot_be_is_refused(more: dict[str, object], field: str) -> None:
    assert field in [each.field for each in faults(spec(Rules(), **more), MEMBERS, SIZES, NOON)]


def test_rules_that_can_be_met_are_taken() -> None:
    rules = Rules(
        waves=Waves(sizes=(Size(percent=1), Size(count=2)), factor=2),
        gates=(MetricGate(series="cpu"), SelectorGate(selector="state=online")),
        budgets=(Budget(group="eu", most=Size(percent=25)),),
        soak_s=60,
        deadline_s=20 * 3600,
        windows=NIGHT,
    )
    assert faults(spec(rules), MEMBERS, SIZES, NOON) == []


def test_a_selector_gate_wants_its_share_of_the_touched() -> None:
    gate = SelectorGate(selector="state=online", percent=50)
    assert selector_verdict(gate, {"a", "b"}, {"b"}).holds
    verdict = selector_verdict(gate, {"a", "b", "c"}, {"b"})
    assert not verdict.holds
    assert "a, c" in verdict.detail


def test_a_metric_gate_compares_with_the_nodes_not_yet_touched() -> None:
    gate = MetricGate(series="cpu", factor=1.5)
    values = {"a": 14.0, "b": 10.0, "c": 10.0}
    assert metric_verdict(gate, {"a"}, {"b", "c"}, values).holds
    assert not metric_verdict(gate, {"a"}, {"b", "c"}, {**values, "a": 16.0}).holds
    assert not metric_verdict(gate, {"a", "quiet"}, {"b", "c"}, values).holds
    assert metric_verdict(gate, {"a", "b", "c"}, set(), values).holds
    assert not metric_verdict(MetricGate(series="hz", op=">="), {"b"}, {"a"}, values).holds
