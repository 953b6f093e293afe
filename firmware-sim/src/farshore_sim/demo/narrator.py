"""Tells the demonstration's story, and remembers whether everything that it told was true."""

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

INDENT = 3


class Narrator:
    def __init__(self, console: Console) -> None:
        self.console = console
        self.untrue: list[str] = []
        self._chapter = 0

    def chapter(self, title: str) -> None:
        self._chapter += 1
        self.console.print()
        self.console.print(Text(f"{self._chapter}. {title}", style="bold cyan"))

    def say(self, text: str) -> None:
        self._indented(Text(text))

    def verbatim(self, text: str) -> None:
        """A line that people copy: whole, however narrow the terminal is."""
        self.console.print(Text(f"   {text}"), soft_wrap=True)

    def show(self, picture: RenderableType) -> None:
        self.console.print(Padding(picture, (0, 0, 0, INDENT), expand=False))

    def note(self, text: str, style: str = "") -> None:
        """A line of its own, outside of the chapters."""
        self.console.print()
        self.console.print(Text(text, style=style))

    def claim(self, true: bool, text: str) -> None:
        """A statement with its mark; an untrue one makes the whole demonstration untrue."""
        mark = Text("✓ ", "green") if true else Text("✗ not true: ", "bold red")
        self._indented(mark.append(text, "default not bold"))
        if not true:
            self.untrue.append(text)

    def _indented(self, text: Text) -> None:
        for line in text.wrap(self.console, max(20, self.console.width - INDENT)):
            line.rstrip()
            self.console.print(Text(" " * INDENT).append(line))
