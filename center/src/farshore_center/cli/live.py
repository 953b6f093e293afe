"""A picture on a terminal that is drawn anew eight times a second, and its orderly end."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from farshore_center.cli.screen import Line, rich_text
from farshore_center.cli.session import Session

if TYPE_CHECKING:
    from rich.live import Live

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
