"""What a measure is given: how long it may look, where it may write, how it reports progress."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """``say``: what is being done now, for whoever watches."""

    quick: bool
    data: Path
    say: Callable[[str], None]
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def folder(self, name: str) -> Path:
        """A new folder below the bench's temporary one."""
        made = self.data / f"{next(self._numbers):03}-{name}"
        made.mkdir()
        return made
