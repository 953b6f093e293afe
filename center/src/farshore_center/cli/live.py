"""A picture on a terminal that is drawn anew eight times a second, and its orderly end."""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from farshore_center.cli.cells import span
from farshore_center.cli.screen import Line, rich_text
from farshore_center.cli.session import Session
from farshore_center.cli.tables import Cell
from farshore_center.cli.watching import Watching

if TYPE_CHECKING:
    from rich.live import Live

T = TypeVar("T")

Draw = Callable[[int, int], list[Line]]
"""The lines for a width and a height."""

REFRESH_PER_S = 8

_LEAST_HEIGHT, _BELOW = 8, 8
"""The last picture leaves room for what is said below it."""


class Screen:
    """``draw`` is asked at each refresh; without a terminal nothing is shown."""

    def __init__(self, session: Session, draw: Draw) -> None:
        self._session = session
        self._draw = draw
        self._live: Live | None = None

    def start(self) -> None:
        from rich.live import Live
        from rich.text import Text

        console = self._session.console()

        def render() -> Text:
            # The last column stays free: some terminals begin a new line there.
            return rich_text(self._draw(console.width - 1, console.height - 1))

        self._live = Live(
            console=console,
            get_renderable=render,
            refresh_per_second=REFRESH_PER_S,
            transient=True,
        )
        self._live.start()

    def stop(self, *, keep: bool) -> None:
        """Give the terminal back; ``keep``: the last picture stays above what follows."""
        if self._live is None:
            return
        live, self._live = self._live, None
        live.stop()
        if keep:
            console = self._session.console()
            height = max(_LEAST_HEIGHT, console.height - _BELOW)
            console.print(rich_text(self._draw(console.width - 1, height)))


class LivePicture(Watching[T]):
    """A view on a terminal: what was shown last, drawn anew until the following ends.

    A kind of view says in ``lines`` what its picture is. It has no ``__init__``: it stands before the
    view whose ``__init__`` counts.
    """

    keep: bool | None = None
    """Whether the last picture stays; None: where the following was broken off."""

    trouble = ""
    """What keeps news away; empty: nothing does."""

    over = False
    """Nothing is followed any more: the picture is the last one."""

    _screen: Screen | None = None

    def lines(self, found: T, width: int, height: int) -> list[Line]:
        raise NotImplementedError

    def foot(self, what: str) -> list[Line]:
        """The lines below the picture of ``what`` while it is followed; afterwards none."""
        if self.over:
            return []
        trouble: list[Line] = [[Cell(self.trouble, "yellow")]] if self.trouble else []
        return [*trouble, [Cell(f"Ctrl-C detaches; {what} goes on", "dim")]]

    def away(self, seconds: float | None) -> None:
        self.trouble = "" if seconds is None else f"the center has not answered for {span(seconds)}"

    def __enter__(self) -> Self:
        self._screen = Screen(self.session, self._draw)
        self._screen.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over = True
        if self._screen is not None:
            self._screen.stop(keep=exc is not None if self.keep is None else self.keep)

    def _draw(self, width: int, height: int) -> list[Line]:
        return [] if self.last is None else self.lines(self.last, width, height)


def can_live(session: Session) -> bool:
    """Whether a picture can be drawn anew where the output goes."""
    return session.terminal and not session.console().is_dumb_terminal
