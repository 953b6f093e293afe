"""When what is granted is expected to end, as it was reckoned when it was decided. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from farshore_center.placement import End, Figure, Origin

LATE_S = 10.0
"""So long after its 95th percentile, and a tenth of that, something may still end as expected: a node has to
fetch what it runs, and to say that it has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """On the wall clock: done in the mean, and in 95 of 100 runs."""

    done_ms: int
    p95_ms: int
    late_ms: int
    origin: Origin

    def end(self, now_ms: int) -> End | None:
        """From now; None: it should have ended long ago, so nobody knows."""
        for at_ms in (self.done_ms, self.p95_ms, self.late_ms):
            if now_ms < at_ms:
                return End((at_ms - now_ms) / 1000, self.origin)
        return None


def expected(figures: Iterable[Figure], granted_ms: int) -> Expected | None:
    """Of what was granted then; None: its run time is unknown."""
    return _expected([asdict(figure) for figure in figures], granted_ms)


def stored(decision: str | None, granted_ms: int) -> Expected | None:
    """The same from the decision as it is in the database."""
    return _expected(
        [] if decision is None else orjson.loads(decision).get("estimate", []), granted_ms
    )


def _expected(figures: Iterable[Mapping[str, Any]], granted_ms: int) -> Expected | None:
    by_name = {each["name"]: each for each in figures}
    done, p95 = by_name.get("completion", {}), by_name.get("completion p95", {})
    if done.get("value") is None or p95.get("value") is None:
        return None
    p95_s = max(float(p95["value"]), float(done["value"]))
    return Expected(
        done_ms=granted_ms + round(float(done["value"]) * 1000),
        p95_ms=granted_ms + round(p95_s * 1000),
        late_ms=granted_ms + round((p95_s * 1.1 + LATE_S) * 1000),
        origin=done["origin"],
    )
