"""How long runs took, in little room: mean and quantiles to within 5 %. Pure.

Values fall into buckets whose bounds grow by a constant factor, as in DDSketch (Masson, Rim and Lee, VLDB
2019): a quantile is off by at most half a bucket, whatever the distribution. Counts are halved when there
are many, so that what was measured lately weighs more, and a change of hardware shows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from farshore_center.placement.errors import PlacementError
from farshore_center.placement.model import RunTime

FACTOR = 1.1
SHORTEST_S = 0.001
"""What is shorter counts as this long."""
MANY = 1000


@dataclass(slots=True)
class RunSketch:
    """Of one task on nodes of one kind. ``counts``: by the number of the bucket."""

    counts: dict[int, float] = field(default_factory=dict)
    total_s: float = 0.0

    @property
    def weight(self) -> float:
        return sum(self.counts.values())

    def add(self, seconds: float) -> None:
        if not (math.isfinite(seconds) and seconds >= 0):
            raise PlacementError(f"a run can't have taken {seconds} s")
        bucket = math.ceil(math.log(max(seconds, SHORTEST_S) / SHORTEST_S, FACTOR) - 1e-9)
        self.counts[bucket] = self.counts.get(bucket, 0.0) + 1
        self.total_s += seconds
        if self.weight >= MANY:
            self.counts = {at: count / 2 for at, count in self.counts.items() if count >= 0.1}
            self.total_s /= 2

    def quantile(self, part: float) -> float:
        """Seconds within which this part of the runs ended. At least one run must have been added."""
        wanted, seen = part * self.weight, 0.0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted - 1e-9:
                break
        return float(SHORTEST_S * FACTOR ** (bucket - 0.5))

    def run_time(self) -> RunTime | None:
        """None while nothing was measured."""
        weight = self.weight
        if not weight:
            return None
        return RunTime(
            mean_s=self.total_s / weight, p95_s=self.quantile(0.95), count=max(1, round(weight))
        )

    def record(self) -> dict[str, object]:
        """As plain JSON; ``restored`` is its inverse."""
        return {
            "total_s": self.total_s,
            "counts": {str(at): count for at, count in sorted(self.counts.items())},
        }

    @classmethod
    def restored(cls, record: Mapping[str, object]) -> "RunSketch":
        counts, total = record.get("counts"), record.get("total_s")
        if not isinstance(counts, Mapping) or not isinstance(total, int | float):
            raise PlacementError("not a record of run times: it needs counts and total_s")
        return cls({int(at): float(count) for at, count in counts.items()}, float(total))
