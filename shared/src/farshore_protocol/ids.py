"""Ids and randomness as parameters.

``Ids`` draws from the ``random.Random`` that it is given: the system's entropy in programs, a seed
in simulated worlds.
"""

import random

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32 in lower case: no letter that is taken for a digit; valid in every name."""


class Ids:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def _token(self, length: int) -> str:
        return "".join(self._rng.choices(_ALPHABET, k=length))

    def boot(self) -> str:
        """One start of an agent: 40 bits."""
        return self._token(8)

    def epoch(self) -> str:
        """One life of an outbox database: 80 bits."""
        return self._token(16)

    def command(self, now_ms: int) -> str:
        """A command: sorts by time of making, with 80 random bits behind (the shape of a ULID)."""
        stamp = ""
        for _ in range(10):
            now_ms, digit = divmod(now_ms, 32)
            stamp = _ALPHABET[digit] + stamp
        return stamp + self._token(16)


def system_rng() -> random.Random:
    """The machine's entropy."""
    return random.SystemRandom()
