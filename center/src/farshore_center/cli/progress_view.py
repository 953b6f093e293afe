"""A command's progress on the screen: a live table, lines on a pipe, or nothing until its JSON.

Which of the three, ``of`` decides; all take the same calls: ``show`` for each new state of the
command, ``conclude`` once at its end.
"""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from farshore_center.cli.cells import NOTHING, block, clean, counted, instant_ms, scalar, took
from farshore_center.cli.progress import (
    SUCCEEDED,
    Command,
    Target,
    first_line,
    is_final,
    output_of,
    summary_text,
    targets_of,
)
from farshore_center.cli.session import Session
from farshore_center.cli.tables import Sheet, left, plain, rich_table, right, state, whole

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

FEW = 8
"""Up to this many targets show their whole output at the end."""

MANY = 50
"""With more, a terminal shows at the end only what did not succeed."""

NowMs = Callable[[], int]


class View:
    """Silent until the end: for ``--json``."""

    def __init__(self, session: Session, now_ms: NowMs) -> None:
        self.session = session
        self.now_ms = now_ms
        self.last: Command | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the screen back."""

    def show(self, command: Command) -> None:
        self.last = command

    def conclude(self, command: Command) -> None:
        self.session.document(command)


class Lines(View):
    """One line for each target when it has ended: for a pipe."""

    def __init__(self, session: Session, now_ms: NowMs) -> None:
        super().__init__(session, now_ms)
        self._waiting: list[Target] = []
        self._said: set[str] = set()

    def show(self, command: Command) -> None:
        super().show(command)
        widest = max((len(t["node"]) for t in targets_of(command)), default=0)
        for target in targets_of(command):
            if is_final(target) and target["node"] not in self._said:
                self._said.add(target["node"])
                self.session.text(target_line(command, target, widest))

    def conclude(self, command: Command) -> None:
        _conclude(self.session, command)


class Table(View):
    """A table that lives: for a terminal."""

    def __init__(self, session: Session, now_ms: NowMs) -> None:
        super().__init__(session, now_ms)
        self._live: Live | None = None

    def __enter__(self) -> Self:
        from rich.live import Live

        console = self.session.console()
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=8, transient=True
        )
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if exc is not None and self.last is not None:
            # What was on the screen stays readable after a detach.
            self.session.table(targets_sheet(self.last, self.now_ms()))

    def _render(self) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        if self.last is None:
            return Text("")
        height = self.session.console().height
        sheet = targets_sheet(self.last, self.now_ms(), at_most=max(1, height - 6))
        counts = Text(summary_text(self.last.get("summary") or {}), style="dim")
        return Group(rich_table(sheet), counts)

    def conclude(self, command: Command) -> None:
        show_whole(self.session, command, self.now_ms())


def of(session: Session, now_ms: NowMs) -> View:
    """The view that suits whoever looks on."""
    if session.as_json:
        return View(session, now_ms)
    if session.terminal and not session.console().is_dumb_terminal:
        return Table(session, now_ms)
    return Lines(session, now_ms)


def target_line(command: Command, target: Target, widest: int) -> str:
    fields = [
        clean(target["node"]).ljust(widest),
        clean(target["state"]).ljust(len(SUCCEEDED)),
        duration(command, target, None).rjust(6),
        first_line(target),
    ]
    return "  ".join(fields).rstrip()


def duration(command: Command, target: Target, now_ms: int | None) -> str:
    """From the command's making to the target's end; to now while it has none."""
    end_ms = instant_ms(target.get("updated_at")) if is_final(target) else now_ms
    return took(command.get("created_at"), end_ms)


def targets_sheet(command: Command, now_ms: int, at_most: int | None = None) -> Sheet:
    """The targets; where not all have room, those that are still under way come first."""
    targets = list(targets_of(command))
    if at_most is not None and len(targets) > at_most:
        targets = sorted(targets, key=lambda t: (is_final(t), t["state"] == SUCCEEDED))[:at_most]
    sheet = Sheet(columns=[*left("node"), *whole("state"), *right("took"), *left("says")])
    for target in targets:
        sheet.add(
            clean(target["node"]),
            state(clean(target["state"])),
            duration(command, target, now_ms),
            first_line(target),
        )
    return sheet


def show_whole(session: Session, command: Command, now_ms: int) -> None:
    """A command with its targets, and their outputs where they are few."""
    targets = targets_of(command)
    if not session.terminal:
        session.text(plain(targets_sheet(command, now_ms)))
    else:
        shown = command
        if len(targets) > MANY:
            shown = {**command, "targets": [t for t in targets if t["state"] != SUCCEEDED]}
        if targets_of(shown):
            session.table(targets_sheet(shown, now_ms))
    _conclude(session, command)


def _conclude(session: Session, command: Command) -> None:
    """The outputs, where they are few, and the sum as the last line."""
    targets = targets_of(command)
    if len(targets) <= FEW:
        for target in targets:
            _show_output(session, target)
    ids = f"{clean(command['id'])}: {counted(len(targets), 'target')}" if targets else "no targets"
    sums = summary_text(command.get("summary") or {})
    session.styled(f"{ids}, {sums}" if sums != NOTHING else ids, "dim")


def _show_output(session: Session, target: Target) -> None:
    for stream in ("stdout", "stderr"):
        text = output_of(target, stream)
        # One line that the table has shown already is not shown again.
        if text and clean(output_of(target).strip()) != first_line(target):
            session.styled(f"--- {scalar(target['node'])} {stream}", "bold")
            session.text(block(text).removesuffix("\n"))
