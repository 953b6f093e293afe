"""Tells the demonstration's story, and remembers whether everything that it told was true."""

from rich.console import Console


class Narrator:
    def __init__(self, console: Console) -> None:
        self.console = console
        self.untrue: list[str] = []
        self._chapter = 0

    def chapter(self, title: str) -> None:
        self._chapter += 1
        self.console.print(f"\n[bold cyan]{self._chapter}. {title}[/]")

    def say(self, text: str) -> None:
        self.console.print(f"   {text}", highlight=False)

    def claim(self, true: bool, text: str) -> None:
        """A statement with its mark; an untrue one makes the whole demonstration untrue."""
        mark = "[green]✓[/]" if true else "[bold red]✗ not true:[/]"
        self.console.print(f"   {mark} {text}", highlight=False)
        if not true:
            self.untrue.append(text)
