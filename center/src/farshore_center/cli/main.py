"""``farshore``: the operator's command line. This module only puts its commands together."""

import sys
from typing import Annotated

import typer

from farshore_center.cli import (
    commands,
    config,
    diagnose,
    events,
    group,
    groups,
    identity,
    inventory,
    jobs,
    labels,
    logs,
    nodes,
    overlays,
    rejected,
    streams,
    telemetry,
    verbs,
)
from farshore_center.cli.session import AsJson, NoColor, Url, merged

EPILOG = (
    "Exit codes: 0 done, 1 the work failed somewhere, 2 bad usage, "
    "3 the center can't be reached, 130 ended by Ctrl-C."
)

app = typer.Typer(
    name="farshore",
    help="See and steer a Farshore fleet through its center.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("farshore-center"))
        raise typer.Exit


@app.callback()
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


for noun in (
    nodes, labels, groups, group, overlays, streams, verbs, commands, jobs, diagnose, config, telemetry,
    events, rejected, logs, identity, inventory,
):  # fmt: skip
    noun.register(app)


def main() -> None:
    """The entry point of the ``farshore`` program."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal without Unicode shows "?" for what it can't; it does not end the program.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app(prog_name="farshore")


def inventory_main() -> None:
    """The entry point of ``farshore-inventory``: Ansible passes a script no word of its own."""
    app(["inventory", *sys.argv[1:]], prog_name="farshore-inventory")
