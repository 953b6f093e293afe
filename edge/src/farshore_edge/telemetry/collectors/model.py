"""What a collector is. No collector lives here and nothing here reads the machine."""

from __future__ import annotations

from typing import Protocol

Sample = dict[str, float]
"""Series name to value. A value that can't be had is absent, never zero."""


class Collector(Protocol):
    """One kind of resource. Never shared between threads: some keep the previous reading."""

    name: str

    def sample(self) -> Sample:
        """The values of now. Cheap, never blocks for long.

        Raises CollectorError, and that alone, when it could get nothing at all: the caller
        reports it and asks again next time.
        """
        ...
