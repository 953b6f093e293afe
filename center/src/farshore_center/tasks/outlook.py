"""What is expected of a grant, as it was reckoned when it was decided: when it ends, what it moves. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from farshore_center.placement import End, Origin, Transfer

LATE_S = 10.0
"""So long after its 95th percentile, and a tenth of that, something may still end as expected: a node has to
fetch what it runs, and to say that it has ended."""
SOON_S = 1.0
"""What is late is expected in a tenth of what it has taken, and not sooner than this: a prediction that was
too short is corrected in steps that grow (Tsafrir, Etsion and Feitelson, IEEE TPDS 2007)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """On the wall clock. ``ends_ms``: done in the mean, and in 95 of 100 runs; after ``late_ms`` it is not
    expected any more. Without ``ends_ms`` its run time is unknown. ``transfers``: what passes links until
    ``moved_ms``."""

    granted_ms: int
    ends_ms: tuple[int, ...] = ()
    late_ms: int = 0
    origin: Origin = "unknown"
    moved_ms: int = 0
    transfers: tuple[Transfer, ...] = ()

    def end(self, now_ms: int) -> End | None:
        """From now; None: nobody knows, or it should have ended long ago."""
        for at_ms in self.ends_ms:
            if now_ms < at_ms:
                return End((at_ms - now_ms) / 1000, self.origin)
        if not now_ms < self.late_ms:
            return None
        taken_s = (now_ms - self.granted_ms) / 1000
        return End(max(SOON_S, taken_s / 10), self.origin)

    def left(self, now_ms: int) -> Iterator[Transfer]:
        """What of it is still to move, as far as it moves evenly."""
        whole_ms = self.moved_ms - self.granted_ms
        if now_ms < self.moved_ms and whole_ms > 0:
            part = min(1.0, (self.moved_ms - now_ms) / whole_ms)
            for each in self.transfers:
                yield each._replace(size_bytes=round(each.size_bytes * part))


def stored_outlook(decision: str | None, granted_ms: int) -> Outlook:
    """From the decision as it is in the database."""
    return outlook_of({} if decision is None else orjson.loads(decision), granted_ms)


def outlook_of(decision: Mapping[str, Any], granted_ms: int) -> Outlook:
    """Of what was granted then, from its decision."""
    figures = {each["name"]: each for each in decision.get("estimate", ())}
    values = {name: float(each["value"] or 0.0) for name, each in figures.items()}
    ends_s: tuple[float, ...] = ()
    late_s = 0.0
    if figures.get("completion", {}).get("value") is not None:
        p95_s = max(values.get("completion p95", 0.0), values["completion"])
        ends_s, late_s = (values["completion"], p95_s), p95_s * 1.1 + LATE_S
    return Outlook(
        granted_ms=granted_ms,
        ends_ms=tuple(granted_ms + round(in_s * 1000) for in_s in ends_s),
        late_ms=granted_ms + round(late_s * 1000) if ends_s else 0,
        origin=figures["completion"]["origin"] if ends_s else "unknown",
        moved_ms=granted_ms + round(values.get("transfer", 0.0) * 1000),
        transfers=tuple(Transfer(*each) for each in decision.get("transfers", ())),
    )
