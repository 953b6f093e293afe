"""How the loop of jobs paces itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """``gather_s``: news of that time are looked at together. ``late_s``: an occurrence of a cron rule
    that is later than this is left out. ``gate_s``, ``follow_s``: how often a gate that does not hold,
    and a selector that is followed, are looked at when nothing else happens."""

    gather_s: float = 0.05
    late_s: float = 300.0
    gate_s: float = 2.0
    follow_s: float = 5.0
    retry_s: float = 1.0
