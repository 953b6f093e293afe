"""The options that say what a job is, shared by ``farshore job create``, ``run`` and ``preview``.

Each field of ``JobOptions`` is a parameter of the command line; ``described`` gives a command all of
them, so that they are written down once. What they mean for the API, ``job_input`` says.
"""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Annotated

import typer

from farshore_center.cli.config_layer import Author


def _option(*names: str, metavar: str | None = None, help: str) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(*names, metavar=metavar, help=help)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """As given: durations, sizes and gates are still texts."""

    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TARGET...] [VERB] [-- ARGV...]",
            help="Nodes or one selector, then the verb, as for farshore run; with --config no verb.",
        ),
    ] = None
    file: Annotated[
        str | None,
        _option("--file", "-F", metavar="FILE", help="The job as YAML or JSON; options beat it."),
    ] = None
    name: Annotated[str | None, _option(metavar="TEXT", help="For people. Else: what it does.")] = (
        None
    )
    every: Annotated[bool, _option("--all", help="Every node of the fleet.")] = False
    selector: Annotated[
        str | None, _option(metavar="SELECTOR", help="The nodes that it means.")
    ] = None
    arg: Annotated[
        list[str] | None,
        _option(metavar="K=V", help="An argument; V is JSON where it parses, else a string."),
    ] = None
    timeout: Annotated[
        str | None, _option(metavar="DURATION", help="How long the work may take on a node.")
    ] = None
    undo: Annotated[str | None, _option(metavar="VERB", help="The way back, for a rollback.")] = (
        None
    )
    undo_arg: Annotated[
        list[str] | None, _option(metavar="K=V", help="An argument of the way back.")
    ] = None
    undo_argv: Annotated[
        str | None,
        _option(metavar="COMMAND", help="Its argv, as one text with a shell's quotes."),
    ] = None
    config: Annotated[
        str | None,
        _option(metavar="FILE", help="In place of a verb: a patch of configuration, YAML or JSON."),
    ] = None
    priority: Annotated[
        int | None, _option(metavar="N", help="The patch's place among the overlays.")
    ] = None
    waves: Annotated[
        str | None, _option(metavar="SIZES", help="Of the first waves, for example 1,5%,25%.")
    ] = None
    factor: Annotated[
        float | None, _option(metavar="X", help="Each wave after those is X times the one before.")
    ] = None
    at_once: Annotated[
        int | None, _option(metavar="N", help="At most so many nodes are under way.")
    ] = None
    at_once_per_group: Annotated[
        int | None, _option(metavar="N", help="At most so many of one group.")
    ] = None
    success: Annotated[
        float | None, _option(metavar="PERCENT", help="Of the nodes that ended, else it halts.")
    ] = None
    success_minimum: Annotated[
        int | None, _option(metavar="N", help="Judged when N nodes have ended.")
    ] = None
    soak: Annotated[
        str | None, _option(metavar="DURATION", help="A finished wave is watched for so long.")
    ] = None
    gate: Annotated[
        list[str] | None,
        _option(
            metavar="GATE",
            help="What must hold after a wave: [90%] SELECTOR of the touched nodes, or a metric "
            "against the others, for example 'cpu.percent <= 1.2x + 5'.",
        ),
    ] = None
    gate_wait: Annotated[
        str | None, _option(metavar="DURATION", help="How long a gate may fail first.")
    ] = None
    retries: Annotated[
        int | None, _option(metavar="N", help="A node that failed or timed out is told again.")
    ] = None
    node_deadline: Annotated[
        str | None, _option(metavar="DURATION", help="A node without a word until then failed.")
    ] = None
    deadline: Annotated[
        str | None, _option(metavar="DURATION", help="The job halts so long after its start.")
    ] = None
    budget: Annotated[
        list[str] | None,
        _option(
            metavar="[GROUP=]SIZE",
            help="At most so many nodes of a group are disrupted at once, by whatever.",
        ),
    ] = None
    approval: Annotated[
        bool, _option("--approval", help="A person approves each wave but the first.")
    ] = False
    window: Annotated[
        list[str] | None,
        _option(
            metavar="WINDOW",
            help="When nodes may be touched, in their own time zone: '0 2 * * * for 2h'.",
        ),
    ] = None
    timezone: Annotated[
        str | None,
        _option(
            metavar="ZONE", help="Of --cron, and of windows at nodes without one of their own."
        ),
    ] = None
    start_at: Annotated[
        str | None, _option(metavar="TIME", help="Later: 2026-03-01T10:00:00Z, or a duration.")
    ] = None
    cron: Annotated[str | None, _option(metavar="CRON", help="Again and again: '0 3 * * 1'.")] = (
        None
    )
    following: Annotated[
        bool, _option("--following", help="Who comes to match the selector later joins.")
    ] = False
    allow_empty: Annotated[
        bool, _option("--allow-empty", help="A selector that means no node is no error.")
    ] = False
    message: Annotated[
        str | None, _option("--message", "-m", metavar="TEXT", help="Why; kept with the job.")
    ] = None
    author: Author = None


def described(work: Callable[..., object]) -> None:
    """Give ``work``, a coroutine of ``(session, **given)``, the parameters of ``JobOptions``."""
    kind = inspect.Parameter.KEYWORD_ONLY
    session = inspect.Parameter("session", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    options = [
        inspect.Parameter(
            each.name,
            kind,
            default=None if each.default is MISSING else each.default,
            annotation=each.type,
        )
        for each in fields(JobOptions)
    ]
    work.__signature__ = inspect.Signature([session, *options])  # type: ignore[attr-defined]
