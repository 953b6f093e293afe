"""What one ``farshore`` invocation works with: settings, clock, output; and how a command is declared.

``command`` registers a coroutine as a typer command. It adds ``--url``, ``--json`` and
``--no-color`` to it, so that they may stand before the command's name and after it, and it is the
one place where errors become messages and exit codes.

httpx and rich are imported where they are first used: ``--help`` and a usage error need neither.
"""

import asyncio
import inspect
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer
from farshore_protocol.clock import Clock, SystemClock
from typer.core import TyperCommand

from farshore_center.cli.cells import clean
from farshore_center.cli.errors import DONE, BadUsageError, CommandLineError
from farshore_center.cli.tables import Sheet, plain, rich_table, width_of

if TYPE_CHECKING:
    from rich.console import Console

    from farshore_center.cli.client import CenterClient

DEFAULT_URL = "http://127.0.0.1:8080"

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="FARSHORE_URL", help=f"The center. Default: {DEFAULT_URL}"),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON document (live streams: JSON lines).")
]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colours; NO_COLOR does the same.")]

Work = Callable[..., Awaitable[int | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The settings of one invocation, and its output."""

    url: str = DEFAULT_URL
    as_json: bool = False
    no_color: bool = False
    after_dashes: tuple[str, ...] | None = None
    """The words after ``--``, for a command that takes them apart from its arguments."""
    clock: Clock = field(default_factory=SystemClock)

    def connect(self) -> AbstractAsyncContextManager["CenterClient"]:
        from farshore_center.cli.client import connect

        return connect(check_url(self.url), self.clock)

    @property
    def at(self) -> str:
        """What a command line needs after ``farshore`` to mean the same center."""
        return "" if self.url == DEFAULT_URL else f" --url {self.url}"

    @property
    def terminal(self) -> bool:
        """Whether a person looks on; a pipe gets plain, uncut text."""
        return sys.stdout.isatty()

    def console(self) -> "Console":
        from rich.console import Console

        return Console(no_color=self.no_color or None, highlight=False)

    def document(self, document: Any) -> None:
        """The one JSON document; ASCII, so that nothing in it can steer a terminal."""
        self.text(json.dumps(document, indent=2))

    def json_line(self, document: Any) -> None:
        self.text(json.dumps(document, separators=(",", ":")))

    def text(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def styled(self, text: str, style: str) -> None:
        """A line of text, in ``style`` where there are colours."""
        if self.terminal:
            from rich.text import Text

            self.console().print(Text(text, style=style), soft_wrap=True)
        else:
            self.text(text)

    def table(self, sheet: Sheet) -> None:
        if self.terminal:
            self.console().print(rich_table(sheet))
        else:
            self.text(plain(sheet))

    def wide_table(self, sheet: Sheet) -> None:
        """A table of whatever a node gave: where it is wider than the terminal, its lines run on."""
        text = plain(sheet)
        widest = max(width_of(line) for line in text.splitlines())
        if self.terminal and widest < self.console().width - len(sheet.columns):
            self.table(sheet)
        else:
            self.text(text)

    def note(self, text: str) -> None:
        """Something beside the result: it must not get into a program's input."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def check_url(url: str) -> str:
    """The center's address without a trailing slash; a wrong one is bad usage."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise BadUsageError(f"--url {clean(url)!r}: expected http://HOST[:PORT] or https://…")
    return url.rstrip("/")


def merged(outer: object, url: str | None, as_json: bool, no_color: bool) -> Session:
    """Global options given before the command's name, under those given after it."""
    session = outer if isinstance(outer, Session) else Session()
    return replace(
        session,
        url=url or session.url,
        as_json=as_json or session.as_json,
        no_color=no_color or session.no_color,
    )


def run(session: Session, work: Work, given: dict[str, Any]) -> int:
    """The command itself; every error that we know of ends as a message and an exit code."""

    async def to_the_end() -> int:
        return await work(session, **given) or DONE

    try:
        return asyncio.run(to_the_end())
    except CommandLineError as exc:
        if session.as_json:
            session.document(exc.problem())
        session.note(f"farshore: {exc}")
        return exc.exit_code


class SplitAtDashes(TyperCommand):
    """A command whose words after ``--`` are kept apart: they belong to another program."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta["farshore.after_dashes"] = tuple(args[at + 1 :])
            args = args[:at]
        return super().parse_args(ctx, args)


def command(
    app: typer.Typer, name: str, *, cls: type[TyperCommand] = TyperCommand
) -> Callable[[Work], Work]:
    """Register a coroutine whose first parameter is the session and whose others are typer's."""

    def register(work: Work) -> Work:
        def invoke(
            ctx: typer.Context,
            url: str | None = None,
            as_json: bool = False,
            no_color: bool = False,
            **given: Any,
        ) -> None:
            # The environment was read by the outer option; here it would hide `--url` before.
            session = merged(ctx.obj, url, as_json, no_color)
            session = replace(session, after_dashes=ctx.meta.get("farshore.after_dashes"))
            raise typer.Exit(run(session, work, given))

        _declare(invoke, work)
        app.command(name, cls=cls)(invoke)
        return work

    return register


def _declare(invoke: Callable[..., None], work: Work) -> None:
    """Show typer the parameters of ``work`` and the global options in place of ``**given``."""
    kind = inspect.Parameter.KEYWORD_ONLY
    own = [
        parameter.replace(kind=kind)
        for parameter in list(inspect.signature(work).parameters.values())[1:]
    ]
    after = Annotated[str | None, typer.Option("--url", help="As before the command's name.")]
    parameters = [
        inspect.Parameter("ctx", kind, annotation=typer.Context),
        *own,
        inspect.Parameter("url", kind, default=None, annotation=after),
        inspect.Parameter("as_json", kind, default=False, annotation=AsJson),
        inspect.Parameter("no_color", kind, default=False, annotation=NoColor),
    ]
    invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    invoke.__annotations__ = {p.name: p.annotation for p in parameters}
    invoke.__doc__ = work.__doc__
