"""What a soak finds: a promise that did not hold, with what is needed to understand it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """``promise``: which one, in a word; ``where``: node and stream, or command; ``detail``: facts."""

    promise: str
    where: str
    detail: str

    def __str__(self) -> str:
        return f"{self.promise} · {self.where}: {self.detail}"


@dataclass(slots=True, kw_only=True)
class Findings:
    """``counts``: what was done and what was checked."""

    violations: list[Violation] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)
