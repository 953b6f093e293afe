"""What everybody who is shown a followed thing has in common: the last look, and a center that is away."""

from types import TracebackType
from typing import Generic, Self, TypeVar

from farshore_center.cli.session import Session

T = TypeVar("T")


class Watching(Generic[T]):
    """Silent until the end: for ``--json``. ``last``: what was shown last."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.last: T | None = None
        self._told_away = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the screen back."""

    def show(self, found: T, /) -> None:
        self.last = found

    def away(self, seconds: float | None) -> None:
        """The center has not answered for so long; None: it does again."""
        if seconds is not None and not self._told_away:
            self.session.note("farshore: the center does not answer; waiting for it")
        elif seconds is None:
            self.session.note("farshore: the center answers again")
        self._told_away = seconds is not None
