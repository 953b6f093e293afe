"""When a process is killed next. Pure: the randomness is passed in."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class After(StrEnum):
    START = "start"
    """Some time after it was started: in the middle of coming up."""
    WORD = "word"
    """Some time after it said that it is connected, or ready."""
    WRITE = "write"
    """A few writes to its database after that, at once."""
    LIFE = "life"
    """After it has had the time to get something done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """``wait_s``: after ``after`` has come; ``writes``: how many, for ``After.WRITE``."""

    after: After
    wait_s: float
    writes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How often each, and how long; ``lag_s``: after the last write, for a sync takes its time."""

    shares: Mapping[After, float]
    start_s: tuple[float, float] = (0.02, 0.4)
    word_s: tuple[float, float] = (0.02, 0.4)
    life_s: tuple[float, float] = (0.5, 3.0)
    writes: tuple[int, int] = (1, 24)
    lag_s: tuple[float, float] = (0.0, 0.0005)


AGENT = Habits(shares={After.START: 0.15, After.WORD: 0.3, After.WRITE: 0.45, After.LIFE: 0.1})
CENTER = Habits(
    shares={After.START: 0.1, After.WORD: 0.15, After.WRITE: 0.5, After.LIFE: 0.25},
    start_s=(0.02, 1.5),
    writes=(1, 400),
)


def choose(rng: random.Random, habits: Habits) -> Moment:
    after = rng.choices(list(habits.shares), list(habits.shares.values()))[0]
    match after:
        case After.WRITE:
            writes = rng.randint(*habits.writes)
            return Moment(after=after, wait_s=rng.uniform(*habits.lag_s), writes=writes)
        case After.LIFE:
            return Moment(after=after, wait_s=rng.uniform(*habits.life_s))
        case After.START:
            return Moment(after=after, wait_s=rng.uniform(*habits.start_s))
        case After.WORD:
            return Moment(after=after, wait_s=rng.uniform(*habits.word_s))
