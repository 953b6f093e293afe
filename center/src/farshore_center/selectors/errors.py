"""What is wrong with a selector, and where.

SelectorError(CenterError)
"""

from farshore_center.errors import CenterError


class SelectorError(CenterError):
    """``at`` counts characters from 0; ``column`` is the same for people, from 1."""

    def __init__(
        self, detail: str, *, at: int = 0, expected: str = "", near: tuple[str, ...] = ()
    ) -> None:
        self.detail = detail
        self.at = at
        self.expected = expected
        self.near = near
        self.text = ""
        """The whole selector; set where it is known."""
        super().__init__(detail)

    @property
    def column(self) -> int:
        return self.at + 1

    def __str__(self) -> str:
        hint = f"; did you mean {' or '.join(self.near)}?" if self.near else ""
        return f"column {self.column}: {self.detail}{hint}"
