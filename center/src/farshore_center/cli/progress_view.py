"""A command's progress on the screen: a live picture, lines on a pipe, or nothing until its JSON.

Which of the three, ``of`` decides; all take the same calls: ``show`` for each new state of the
command, ``away`` while the center does not answer, ``conclude`` once at its end.
"""

from collections.abc import Callable, Sequence

from farshore_center.cli.cells import block, clean, counted, instant_ms, scalar, took
from farshore_center.cli.gather import MANY_GROUPS, body, gathered, heading
from farshore_center.cli.live import LivePicture, can_live
from farshore_center.cli.progress import (
    FEW,
    SUCCEEDED,
    Command,
    Target,
    cut,
    first_line,
    is_final,
    output_of,
    says_now,
    summary_text,
    targets_of,
)
from farshore_center.cli.results import details
from farshore_center.cli.run_panel import duration, panel
from farshore_center.cli.screen import Line
from farshore_center.cli.session import Session
from farshore_center.cli.tables import STATE_STYLES, Sheet, left, right, state, whole
from farshore_center.cli.watching import Watching

MANY = 50
"""With more, a terminal gets the answers gathered instead of a line for each target."""

SLOWEST = 3

NowMs = Callable[[], int]


class View(Watching[Command]):
    """Silent until the end: for ``--json``. ``gather``: what was asked for; None: as suits the number."""

    def __init__(self, session: Session, now_ms: NowMs, gather: bool | None = None) -> None:
        super().__init__(session)
        self.now_ms = now_ms
        self.gather = gather

    def conclude(self, command: Command) -> None:
        self.session.document(command)


class Lines(View):
    """One line for each target when it has ended: for a pipe. Nothing of it with ``gather``."""

    def __init__(self, session: Session, now_ms: NowMs, gather: bool | None = None) -> None:
        super().__init__(session, now_ms, gather)
        self._said: set[str] = set()

    def show(self, command: Command) -> None:
        super().show(command)
        if self.gather:
            return
        new = [t for t in targets_of(command) if is_final(t) and t["node"] not in self._said]
        if not new:
            return
        widest = max(len(target["node"]) for target in targets_of(command))
        self._said.update(target["node"] for target in new)
        self.session.text("\n".join(target_line(command, target, widest) for target in new))

    def conclude(self, command: Command) -> None:
        _conclude(self.session, command, gather=self.gather)


class Table(LivePicture[Command], View):
    """A picture that lives: for a terminal."""

    def lines(self, found: Command, width: int, height: int) -> list[Line]:
        return panel(found, self.now_ms(), width, height, self.trouble)

    def conclude(self, command: Command) -> None:
        show_whole(self.session, command, self.now_ms(), gather=self.gather)


def of(session: Session, now_ms: NowMs, gather: bool | None = None) -> View:
    """The view that suits whoever looks on."""
    if session.as_json:
        return View(session, now_ms, gather)
    if can_live(session):
        return Table(session, now_ms, gather)
    return Lines(session, now_ms, gather)


def target_line(command: Command, target: Target, widest: int) -> str:
    fields = [
        clean(target["node"]).ljust(widest),
        clean(target["state"]).ljust(len(SUCCEEDED)),
        duration(command, target, None).rjust(6),
        first_line(target, brief=len(targets_of(command)) <= FEW),
    ]
    return "  ".join(fields).rstrip()


def targets_sheet(command: Command, now_ms: int) -> Sheet:
    """The targets, a line each."""
    sheet = Sheet(columns=[*left("node"), *whole("state"), *right("took"), *left("says")])
    for target in targets_of(command):
        sheet.add(
            clean(target["node"]),
            state(clean(target["state"])),
            duration(command, target, now_ms),
            says_now(command, target, now_ms),
        )
    return sheet


def show_whole(
    session: Session, command: Command, now_ms: int, *, gather: bool | None = None
) -> None:
    """A command with its targets, and their outputs where they are few or alike."""
    targets = targets_of(command)
    if gather is None and session.terminal and len(targets) > MANY:
        gather = True
    if targets and not gather:
        session.table(targets_sheet(command, now_ms))
    _conclude(session, command, gather=gather)


def _conclude(session: Session, command: Command, *, gather: bool | None) -> None:
    """The outputs, gathered or one by one, and the sum as the last line."""
    targets = targets_of(command)
    if gather:
        _show_gathered(session, targets)
    elif len(targets) <= FEW:
        for target in targets:
            _show_output(session, target)
    elif any(_has_more(target) for target in targets):
        session.note(
            f"farshore: what they wrote, alike together: "
            f"farshore{session.at} command {clean(command['id'])} --gather"
        )
    session.styled(conclusion(command), "dim")


def conclusion(command: Command) -> str:
    """``01kx…: 1,000 targets, 998 succeeded, 2 failed; slowest: sim-7 4.20s``."""
    targets = targets_of(command)
    if not targets:
        return f"{clean(command['id'])}: no targets"
    text = f"{clean(command['id'])}: {counted(len(targets), 'target')}"
    text += f", {summary_text(command.get('summary') or {})}"
    ended = [target for target in targets if is_final(target)]
    if len(targets) <= FEW or not ended:
        return text
    ended.sort(key=lambda target: -(instant_ms(target.get("updated_at")) or 0))
    named = (
        f"{clean(each['node'])} {took(command.get('created_at'), instant_ms(each['updated_at']))}"
        for each in ended[:SLOWEST]
    )
    return f"{text}; slowest: {', '.join(named)}"


def _show_gathered(session: Session, targets: Sequence[Target]) -> None:
    for answer in gathered(targets, MANY_GROUPS):
        session.styled(f"--- {heading(answer)}", f"bold {STATE_STYLES.get(answer.state, '')}")
        text = body(answer)
        if text:
            session.text(text)


def _has_more(target: Target) -> bool:
    """Whether the target wrote more than its line shows."""
    text = clean(output_of(target).strip())
    return bool(text) and (text != first_line(target) or bool(cut(target)))


def _show_output(session: Session, target: Target) -> None:
    node = scalar(target["node"])
    for stream in ("stdout", "stderr") if _has_more(target) else ():
        text = output_of(target, stream)
        if text:
            session.styled(f"--- {node} {stream}", "bold")
            session.text(block(text).removesuffix("\n"))
    if cut(target):
        session.styled(f"--- {node}: {cut(target)}", "bold yellow")
    for name, detail in details(target.get("result")):
        session.styled(f"--- {node} {name}", "bold")
        if isinstance(detail, str):
            session.text(detail)
        else:
            session.wide_table(detail)
