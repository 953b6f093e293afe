"""Rules that can't be met are refused when the job is made, with the reason. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from farshore_center.api.problems import FieldError
from farshore_center.jobs import windows
from farshore_center.jobs.engine import wave_size
from farshore_center.jobs.limits import within
from farshore_center.jobs.rules import MetricGate, Rules, Spec
from farshore_center.words import counted

MAX_COUNTED = 10_000
"""Waves, when they are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node that the job means now."""

    group: str
    timezone: str | None = None


def faults(
    spec: Spec,
    members: Mapping[str, Member],
    group_sizes: Mapping[str, int],
    now_ms: int,
) -> list[FieldError]:
    """What can never be met; empty: nothing."""
    return [*_start(spec, now_ms), *_rules(spec, members, group_sizes, now_ms)]


def _start(spec: Spec, now_ms: int) -> Iterator[FieldError]:
    start = spec.start
    if start.at_ms is not None and start.cron is not None:
        yield _fault("start", "both at and cron", "one of them")
    if windows.known_zone(start.timezone) is None:
        yield _fault("start.timezone", f"no time zone {start.timezone[:64]!a}", "Europe/Berlin")
    if start.cron is None:
        return
    fault = windows.cron_fault(start.cron)
    if fault is not None:
        yield _fault("start.cron", f"{start.cron[:64]!a}: {fault}", "minute hour day month weekday")
    elif windows.next_ms(start.cron, windows.zone(start.timezone), now_ms) is None:
        yield _fault("start.cron", f"{start.cron!a} never comes", "a time that comes")
    if spec.following:
        yield _fault("following", "a job with a cron rule follows nobody", "false")


def _rules(
    spec: Spec, members: Mapping[str, Member], sizes: Mapping[str, int], now_ms: int
) -> Iterator[FieldError]:
    rules = spec.rules
    if not spec.following and rules.success.minimum > max(1, len(members)):
        yield _fault(
            "rules.success.minimum",
            f"{counted(rules.success.minimum, 'node')} must have ended, the job means {len(members)}",
            f"at most {len(members)}",
        )
    if spec.following and rules.deadline_s is None:
        yield _fault(
            "rules.deadline_s",
            "a job that follows its selector needs an end",
            "seconds until which it follows",
        )
    yield from _budgets(rules, members, sizes)
    yield from _gates(rules, len(members))
    yield from _deadline(rules, len(members))
    yield from _windows(spec, members, now_ms)


def _budgets(
    rules: Rules, members: Mapping[str, Member], sizes: Mapping[str, int]
) -> Iterator[FieldError]:
    for number, budget in enumerate(rules.budgets):
        size = sizes.get(budget.group, 0)
        touched = any(within(each.group, budget.group) for each in members.values())
        if touched and budget.most.of(size) < 1:
            yield _fault(
                f"rules.budgets.{number}",
                f"permits no disruption among the {counted(size, 'node')} of {budget.group or 'the fleet'}, "
                "and the job means some of them",
                "a budget of at least one node",
            )


def _gates(rules: Rules, total: int) -> Iterator[FieldError]:
    first = wave_size(rules.waves, 0, 0, total)
    for number, gate in enumerate(rules.gates):
        if isinstance(gate, MetricGate) and total and first >= total:
            yield _fault(
                f"rules.gates.{number}",
                f"the first wave is all of {counted(total, 'node')}: nobody is left to compare with",
                "a first wave that is smaller than the fleet",
            )


def _deadline(rules: Rules, total: int) -> Iterator[FieldError]:
    if rules.deadline_s is None:
        return
    waves = _count_waves(rules, total)
    if rules.soak_s * waves >= rules.deadline_s:
        yield _fault(
            "rules.deadline_s",
            f"{counted(waves, 'wave')} with a soak of {rules.soak_s:g} s, "
            f"the job has {rules.deadline_s:g} s",
            f"more than {rules.soak_s * waves:g} s, fewer waves or a shorter soak_s",
        )


def _count_waves(rules: Rules, total: int) -> int:
    done = count = size = 0
    while done < total and count < MAX_COUNTED:
        size = wave_size(rules.waves, count, size, total)
        done, count = done + size, count + 1
    return max(1, count)


def _windows(spec: Spec, members: Mapping[str, Member], now_ms: int) -> Iterator[FieldError]:
    rules = spec.rules
    if windows.known_zone(rules.timezone) is None:
        name = rules.timezone[:64]
        yield _fault("rules.timezone", f"no time zone {name!a}", "a name such as Europe/Berlin")
        return
    for number, window in enumerate(rules.windows):
        field = f"rules.windows.{number}.cron"
        fault = windows.cron_fault(window.cron)
        if fault is not None:
            yield _fault(field, f"{window.cron[:64]!a}: {fault}", "minute hour day month weekday")
            return
        if windows.next_ms(window.cron, windows.zone(rules.timezone), now_ms) is None:
            yield _fault(field, f"the window {window.cron!a} never opens", "a time that comes")
            return
    if rules.deadline_s is None or not rules.windows or spec.start.cron is not None:
        return
    begin_ms = max(now_ms, spec.start.at_ms or 0)
    late = []
    opens: dict[str, int | None] = {}
    for node, member in members.items():
        tz = windows.zone(member.timezone, rules.timezone)
        if tz.key not in opens:
            opens[tz.key] = windows.opens_ms(rules.windows, tz, begin_ms)
        opens_ms = opens[tz.key]
        if opens_ms is None or opens_ms >= begin_ms + rules.deadline_s * 1000:
            late.append(node)
    if late:
        named = ", ".join(sorted(late)[:3]) + ("…" if len(late) > 3 else "")
        yield _fault(
            "rules.windows",
            f"no window opens before the job's deadline for {counted(len(late), 'node')}: {named}",
            "a later deadline_s or another window",
        )


def _fault(field: str, detail: str, expected: str) -> FieldError:
    return FieldError(field=field, detail=detail, expected=expected)
