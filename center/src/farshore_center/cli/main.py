"""``farshore``: the operator's command line. This module only puts its commands together.

A call needs one of them, so only the module of that one is imported: the others together cost as much
time as the whole call to the center.
"""

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Annotated

import typer

from farshore_center.cli.session import AsJson, NoColor, Url, merged

NOUNS: Mapping[str, Collection[str]] = {
    "nodes": ("nodes", "node"),
    "labels": ("label",),
    "groups": ("groups",),
    "group": ("group",),
    "overlays": ("overlay",),
    "streams": ("streams",),
    "verbs": ("verbs",),
    "commands": ("run", "command", "commands", "cancel"),
    "jobs": ("job",),
    "tasks": ("task",),
    "pool": ("pool",),
    "quotas": ("quota",),
    "diagnose": ("diagnose",),
    "logs": ("logs",),
    "config": ("config",),
    "telemetry": ("telemetry",),
    "events": ("events",),
    "rejected": ("rejected",),
    "identity": ("center",),
    "inventory": ("inventory",),
}
"""The modules of this package, in the order of the help text, and the words that each registers."""

EPILOG = (
    "Exit codes: 0 done, 1 the work failed somewhere, 2 bad usage, "
    "3 the center can't be reached, 130 ended by Ctrl-C."
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("farshore-center"))
        raise typer.Exit


def options(
    ctx: typer.Context,
    url: Url = None,
    as_json: AsJson = False,
    no_color: NoColor = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    del version  # its callback did the work
    ctx.obj = merged(None, url, as_json, no_color)


def assembled(nouns: Iterable[str] = NOUNS) -> typer.Typer:
    """The program with the commands of these modules."""
    app = typer.Typer(
        name="farshore",
        help="See and steer a Farshore fleet through its center.",
        epilog=EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(options)
    for noun in nouns:
        import_module(f"farshore_center.cli.{noun}").register(app)
    return app


@cache
def _whole() -> typer.Typer:
    return assembled()


def __getattr__(name: str) -> typer.Typer:
    """``app``: the whole program, made when somebody asks for it."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _whole()


def for_words(words: Sequence[str]) -> typer.Typer:
    """The program for one call: with the module that its command is in, or with all of them when that
    can't be told (help, a completion, a word that is none)."""
    before_url = False
    for word in words:
        if before_url or word in ("--json", "--no-color") or word.startswith("--url="):
            before_url = False
        elif word == "--url":
            before_url = True
        else:
            found = [noun for noun, own in NOUNS.items() if word in own]
            return assembled(found) if found else _whole()
    return _whole()


def main() -> None:
    """The entry point of the ``farshore`` program."""
    # httpx imports a command line of its own where click and rich are there, which takes longer than
    # all the rest of it. None stands for a module that can't be imported; httpx is ready for that.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    for stream in (sys.stdout, sys.stderr):
        # A terminal without Unicode shows "?" for what it can't; it does not end the program.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    words = sys.argv[1:]
    for_words(words)(words, prog_name="farshore")


def inventory_main() -> None:
    """The entry point of ``farshore-inventory``: Ansible passes a script no word of its own."""
    words = ["inventory", *sys.argv[1:]]
    for_words(words)(words, prog_name="farshore-inventory")
