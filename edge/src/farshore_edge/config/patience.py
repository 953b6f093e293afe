"""When a difference that keeps coming back is repaired again. Pure.

Another program that rewrites a file at once would be fought for ever; after a few repairs in a row
the node waits, longer each time, and says so.
"""

from dataclasses import dataclass

OFTEN = 3
CALM_S = 600.0
FIRST_WAIT_S = 60.0
LONGEST_WAIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Fight:
    streak: int
    at_s: float
    wait_s: float


class Patience:
    def __init__(self, *, often: int = OFTEN) -> None:
        """``often``: so many repairs in a row are none too many."""
        self._often = often
        self._fights: dict[str, _Fight] = {}

    def due(self, path: str, now_s: float) -> bool:
        """Whether the difference at ``path`` may be repaired now."""
        return self.wait_s(path, now_s) <= 0

    def wait_s(self, path: str, now_s: float) -> float:
        fight = self._fights.get(path)
        return 0.0 if fight is None else max(0.0, fight.at_s + fight.wait_s - now_s)

    def repaired(self, path: str, now_s: float) -> None:
        last = self._fights.get(path)
        again = last is not None and now_s - last.at_s < max(CALM_S, 2 * last.wait_s)
        streak = last.streak + 1 if last is not None and again else 1
        wait_s = 0.0
        if streak >= self._often:
            wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(streak - self._often, 16))
        self._fights[path] = _Fight(streak, now_s, wait_s)

    def forget(self) -> None:
        """Another configuration runs: old fights say nothing of it."""
        self._fights.clear()
