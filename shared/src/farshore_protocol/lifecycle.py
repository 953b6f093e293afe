"""Lifecycles as literal tables: a pair that is not in the table is illegal and changes nothing.

The state diagrams in ``docs/lifecycles.md`` are generated from these tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from farshore_protocol.errors import IllegalTransitionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """``table``: for each state, the states that may follow it; a final state is followed by none."""

    noun: str
    initial: str
    table: Mapping[str, frozenset[str]]

    def __post_init__(self) -> None:
        known = set(self.table)
        unknown = {state for follows in self.table.values() for state in follows} - known
        if self.initial not in known or unknown:
            raise ValueError(
                f"{self.noun}: states without a row: {sorted(unknown) or self.initial}"
            )

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(self.table)

    def may(self, current: str, new: str) -> bool:
        return new in self.table.get(current, frozenset())

    def final(self, state: str) -> bool:
        return not self.table[state]

    def check(self, current: str, new: str) -> str:
        """``new``, or IllegalTransitionError."""
        if not self.may(current, new):
            if current not in self.table:
                allowed = "nothing: there is no such state"
            else:
                allowed = ", ".join(sorted(self.table[current])) or "nothing: it is final"
            raise IllegalTransitionError(
                f"{self.noun}: {current} → {new} is not allowed; after {current}: {allowed}"
            )
        return new

    def mermaid(self) -> str:
        """The diagram for the docs, generated from the table."""
        lines = ["stateDiagram-v2", f"    [*] --> {self.initial}"]
        for state, follows in self.table.items():
            lines += [f"    {state} --> {new}" for new in sorted(follows)]
            if not follows:
                lines.append(f"    {state} --> [*]")
        return "\n".join(lines)
