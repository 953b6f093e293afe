"""Nodes that get nothing new for a while, since they do not do what they are given. Pure; in memory alone.

A node that is heard and never answers for a grant rests at once; one that rejects what it is given, though
by what it told it has the room, after ``TOLERATED`` in a row. Each rest is twice as long as the one before; a
task that runs there ends the count.
"""

from collections.abc import Callable
from dataclasses import dataclass

FIRST_S = 30.0
MOST_S = 900.0
TOLERATED = 3

OF_THE_TASK = frozenset({"bad_settings", "no_driver", "bad_grant", "old_epoch"})
"""Codes of rejections that say nothing about what the node has."""


@dataclass(slots=True)
class _Record:
    strikes: int = 0
    rests: int = 0
    until_s: float = float("-inf")
    why: str = ""


class Resting:
    def __init__(self, *, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._records: dict[str, _Record] = {}

    def unanswered(self, node: str) -> None:
        """It has not answered for a grant."""
        record = self._records.setdefault(node, _Record())
        self._rest(record, "it has not answered for what it was given")

    def rejected(self, node: str, code: str | None, reason: str) -> bool:
        """It has rejected a grant. Whether it rests now."""
        if code is None or code in OF_THE_TASK:
            return False
        record = self._records.setdefault(node, _Record())
        record.strikes += 1
        if record.strikes < TOLERATED:
            return False
        self._rest(record, f"it has rejected {record.strikes} in a row, last: {reason[:200]}")
        return True

    def _rest(self, record: _Record, why: str) -> None:
        now_s = self._now_s()
        if now_s >= record.until_s:
            record.rests += 1
            pause_s = min(FIRST_S * 2 ** min(record.rests - 1, 16), MOST_S)
            record.until_s = now_s + pause_s
            record.why = f"{why}; it is given nothing for {pause_s:g} s"

    def well(self, node: str) -> None:
        """Something runs there, or has ended as it should."""
        self._records.pop(node, None)

    def until_s(self, node: str) -> float | None:
        """When its rest is over; None: it does not rest."""
        record = self._records.get(node)
        return None if record is None or self._now_s() >= record.until_s else record.until_s

    def refusal(self, node: str) -> str:
        """Why nothing new may come; empty: it may."""
        record = self._records.get(node)
        return "" if record is None or self._now_s() >= record.until_s else record.why
