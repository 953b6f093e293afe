"""What a job would be, before it is made. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from farshore_center.api.problems import FieldError
from farshore_center.events.instant import rfc3339
from farshore_center.jobs import windows
from farshore_center.jobs.engine import order, wave_size
from farshore_center.jobs.feasible import Member
from farshore_center.jobs.making import Checked
from farshore_center.jobs.rules import Rules

MOST_WAVES = 50
NAMES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """``opens_ms``: when the first node could be told; None: never."""

    nodes: int
    waves: tuple[Mapping[str, Any], ...]
    faults: tuple[FieldError, ...]
    opens_ms: int | None

    def document(self) -> dict[str, Any]:
        return {
            "nodes": self.nodes,
            "waves": list(self.waves),
            "faults": [asdict(each) for each in self.faults],
            "opens_at": None if self.opens_ms is None else rfc3339(self.opens_ms),
        }


def previewed(ready: Checked, job_id: str, now_ms: int) -> Preview:
    rules, names = ready.spec.rules, order(job_id, ready.members)
    waves: list[Mapping[str, Any]] = []
    size = done = 0
    while done < len(names) and len(waves) < MOST_WAVES:
        size = wave_size(rules.waves, len(waves), size, len(names))
        some = names[done : done + size]
        waves.append(
            {"number": len(waves) + 1, "size": size, "nodes": len(some), "names": some[:NAMES]}
        )
        done += size
    start = ready.spec.start
    begin_ms: int | None = max(now_ms, start.at_ms or 0)
    if start.cron is not None and windows.cron_fault(start.cron) is None:
        begin_ms = windows.next_ms(start.cron, windows.zone(start.timezone), now_ms)
    opens_ms = None
    if begin_ms is not None:
        opens_ms = _opens(rules, ready.members, begin_ms)
    return Preview(nodes=len(names), waves=tuple(waves), faults=ready.faults, opens_ms=opens_ms)


def _opens(rules: Rules, members: Mapping[str, Member], begin_ms: int) -> int | None:
    if any(windows.cron_fault(each.cron) is not None for each in rules.windows):
        return None
    zones = {windows.zone(each.timezone, rules.timezone) for each in members.values()}
    found = (windows.opens_ms(rules.windows, zone, begin_ms) for zone in zones)
    return min((each for each in found if each is not None), default=None)
