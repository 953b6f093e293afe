"""When a process is killed next. Pure: the randomness is passed in."""

import random
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


SHARES = ((After.START, 0.15), (After.WORD, 0.3), (After.WRITE, 0.45), (After.LIFE, 0.1))
SPAN_S = (0.02, 0.4)
LIFE_S = (0.5, 3.0)
MOST_WRITES = 24
MOST_LAG_S = 0.0005
"""After the last of those writes: a sync takes some tenths of a millisecond."""


def choose(rng: random.Random) -> Moment:
    (after,) = rng.choices(*map(list, zip(*SHARES, strict=True)))
    match after:
        case After.WRITE:
            writes = rng.randint(1, MOST_WRITES)
            return Moment(after=after, wait_s=rng.uniform(0, MOST_LAG_S), writes=writes)
        case After.LIFE:
            return Moment(after=after, wait_s=rng.uniform(*LIFE_S))
        case _:
            return Moment(after=after, wait_s=rng.uniform(*SPAN_S))
