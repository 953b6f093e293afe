"""How the center wishes nodes to pace themselves; they are told on ``fs1/center``."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """``rate``: records a second that one node should not exceed; ``hold_s``: seconds, spread at
    random, that nodes should wait before they send a backlog. None is no wish."""

    rate: float | None = None
    hold_s: float | None = None
