"""``farshore run``, ``command``, ``commands`` and ``cancel``: let nodes do something, and see it.

Ctrl-C while following detaches: the command goes on, and how to see it again is told. Only
``cancel`` cancels.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from farshore_center.cli import progress_view
from farshore_center.cli.arguments import arguments, text_hint
from farshore_center.cli.cells import NOTHING, age, clean, counted
from farshore_center.cli.errors import DONE, FAILED, BadUsageError, RefusedError, UnreachableError
from farshore_center.cli.folding import unfold
from farshore_center.cli.progress import (
    Command,
    all_succeeded,
    is_done,
    summary_text,
    targets_of,
)
from farshore_center.cli.session import Session, SplitAtDashes, command
from farshore_center.cli.tables import Sheet, left, right

SELECTOR_CHARACTERS = ":=<>~() "
"""One of these, and a word is no name."""

QUICK_S = 0.5
"""Most commands are done within that, and then nothing has to be followed."""

CommandId = Annotated[str, typer.Argument(metavar="ID", help="The command's id.")]
Gather = Annotated[
    bool | None,
    typer.Option(
        "--gather/--no-gather",
        "-b",
        help="Outputs that are equal once, with the nodes folded. On a terminal for more than 50.",
    ),
]


def register(app: typer.Typer) -> None:
    command(app, "run", cls=SplitAtDashes)(run)
    command(app, "command")(show)
    command(app, "commands")(recent)
    command(app, "cancel")(cancel)


async def run(
    session: Session,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET... VERB [-- ARGV...]",
            help="Nodes or one selector, then the verb; with --all or --selector the verb alone. "
            "Words after -- are its argv.",
        ),
    ],
    every: Annotated[bool, typer.Option("--all", help="Every node of the fleet.")] = False,
    selector: Annotated[
        str | None, typer.Option(metavar="SELECTOR", help="The nodes that it means now.")
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(metavar="K=V", help="An argument; V is JSON where it parses, else a string."),
    ] = None,
    ttl: Annotated[
        float, typer.Option(min=0.001, metavar="SECONDS", help="How long a node may be absent.")
    ] = 60,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            metavar="SECONDS",
            help="How long the work may take. Default: the verb's own.",
        ),
    ] = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="A selector that means no node is no error.")
    ] = False,
    gather: Gather = None,
    detach: Annotated[bool, typer.Option("--detach", help="Send it and do not wait.")] = False,
    secret: Annotated[
        bool,
        typer.Option("--secret", help="Arguments and output do not stay in the center's history."),
    ] = False,
) -> int:
    """Let nodes execute a verb and follow it: farshore run pi-1 pi-2 exec -- uptime -p"""
    nodes, verb = split_words(words, every=every, selector=selector)
    body: dict[str, Any] = {
        **address(nodes, every=every, selector=selector),
        "verb": verb,
        "args": arguments(arg or (), session.after_dashes),
        "ttl_s": ttl,
        "timeout_s": timeout,
        **({"secret": True} if secret else {}),
        **({"allow_empty": True} if allow_empty else {}),
    }
    async with session.connect() as client:
        try:
            made = await client.post("/commands", body)
        except RefusedError as exc:
            hint = text_hint(exc, body["args"])
            if hint:
                session.note(f"farshore: {hint}")
            raise
        except asyncio.CancelledError:
            session.note(
                "\nended before the center answered; see whether it took it: farshore commands"
            )
            raise
        if not detach:
            return await _to_the_end(session, client, made, gather, quick=True)
    if session.as_json:
        session.document(made)
    else:
        number = len(targets_of(made))
        session.text(f"{made['id']}  {clean(verb)} for {counted(number, 'node')}")
        session.note(f"see it: {_again(session, made)} --follow")
    return DONE


def split_words(
    words: Sequence[str], *, every: bool, selector: str | None = None
) -> tuple[list[str], str]:
    """Nodes, each once, and the verb: the last of the words."""
    *nodes, verb = words
    if every and selector is not None:
        raise BadUsageError("--all and --selector: give one of them")
    option = "--all" if every else "--selector"
    if (every or selector is not None) and nodes:
        raise BadUsageError(
            f"{option} takes the verb alone, not {len(words)} words; "
            "words for a program stand after --"
        )
    if not every and selector is None and not nodes:
        raise BadUsageError(
            f"{clean(verb)!r} alone: expected nodes and then a verb, or --all and a verb"
        )
    if len(nodes) > 1 and any(is_selector(word) for word in nodes):
        raise BadUsageError("names and selectors together: write one selector, in quotes")
    return named_nodes(nodes), verb


def named_nodes(words: Sequence[str]) -> list[str]:
    """Each node once; ``pi-[1-3,7]`` is four of them, and a selector stays what it is."""
    try:
        names = [name for word in words for name in ([word] if is_selector(word) else unfold(word))]
    except ValueError as exc:
        raise BadUsageError(str(exc)) from exc
    return list(dict.fromkeys(names))


def is_selector(word: str) -> bool:
    """Whether a word says more than a node's name can."""
    return any(char in word for char in SELECTOR_CHARACTERS)


def address(nodes: Sequence[str], *, every: bool, selector: str | None = None) -> dict[str, Any]:
    if every:
        return {"all": True}
    if selector is not None:
        return {"selector": selector}
    if len(nodes) == 1:
        return {"selector" if is_selector(nodes[0]) else "node": nodes[0]}
    return {"nodes": list(nodes)}


async def _to_the_end(
    session: Session,
    client: Any,
    made: Command,
    gather: bool | None = None,
    *,
    quick: bool = False,
) -> int:
    """``quick``: it was made just now and may end at once."""
    from farshore_center.cli.follow import follow

    view = progress_view.of(session, client.now_ms, gather)
    try:
        with view:
            if quick:
                view.show(made)
                with contextlib.suppress(UnreachableError):  # whoever follows it is more patient
                    made = await client.get(f"/commands/{made['id']}", {"wait_s": QUICK_S})
            end = await follow(client, made, view)
    except asyncio.CancelledError:
        if session.as_json:
            session.document(view.last or made)
        session.note(_detached(session, view.last or made))
        raise
    except UnreachableError:
        session.note(f"farshore: the command goes on: {_again(session, made)} --follow")
        raise
    view.conclude(end)
    return DONE if all_succeeded(end) else FAILED


def _detached(session: Session, made: Command) -> str:
    """What to type next; on standard error, so that it is read even where the rest goes on."""
    command_id = clean(made["id"])
    return (
        "\ndetached; the command goes on\n"
        f"  see it again: {_again(session, made)} --follow\n"
        f"  cancel it:    farshore{session.at} cancel {command_id}"
    )


def _again(session: Session, made: Command) -> str:
    return f"farshore{session.at} command {clean(made['id'])}"


async def show(
    session: Session,
    command_id: CommandId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow it to its end, as run does.")
    ] = False,
    gather: Gather = None,
) -> int:
    """One command: every target, its state and its output."""
    from farshore_center.cli.client import segment

    async with session.connect() as client:
        found = await client.get(f"/commands/{segment(command_id)}")
        if follow:
            return await _to_the_end(session, client, found, gather)
        now_ms = client.now_ms()
    if session.as_json:
        session.document(found)
        return DONE
    session.text(
        f"{clean(found['verb'])}  {clean(found['id'])}  {age(found.get('created_at'), now_ms)} ago  "
        f"{args_text(found)}"
    )
    progress_view.show_whole(session, found, now_ms, gather=gather)
    return DONE


def args_text(found: Command) -> str:
    if found.get("erased"):
        return "(secret: arguments, output and results are erased)"
    if found.get("secret"):
        return "(secret: arguments are not shown, output and results will be erased)"
    return clean(json.dumps(found.get("args") or {}, ensure_ascii=False))


async def recent(
    session: Session,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 20,
) -> None:
    """The latest commands, newest first."""
    async with session.connect() as client:
        found = await client.items("/commands", at_most=limit)
        now_ms = client.now_ms()
    if session.as_json:
        session.document({"items": found, "next": None})
    elif found:
        session.table(commands_sheet(found, now_ms))
    else:
        session.text("no commands yet")


def commands_sheet(items: Sequence[Mapping[str, Any]], now_ms: int) -> Sheet:
    sheet = Sheet(columns=[*left("id", "verb", "by"), *right("ago"), *left("done", "targets")])
    for item in items:
        sheet.add(
            clean(item["id"]),
            clean(item["verb"]),
            clean(item.get("by") or NOTHING),
            age(item.get("created_at"), now_ms),
            "yes" if is_done(item) else "no",
            summary_text(item.get("summary") or {}) or NOTHING,
        )
    return sheet


async def cancel(session: Session, command_id: CommandId) -> int:
    """Cancel a command wherever it has not ended yet."""
    from farshore_center.cli.client import segment

    async with session.connect() as client:
        found = await client.post(f"/commands/{segment(command_id)}/cancel")
    if session.as_json:
        session.document(found)
    else:
        session.text(f"{clean(found['id'])}: {summary_text(found.get('summary') or {})}")
    late = found.get("not_cancelled") or []
    asked = [each for each in late if each.get("cancelling")]
    ended = [each for each in late if not each.get("cancelling")]
    if asked:
        session.note(
            f"farshore: asked to end it: {_named(asked)}; what they say: "
            f"{_again(session, {'id': clean(found.get('asked_by') or '')})}"
        )
    if ended:
        session.note(f"farshore: too far on to be cancelled: {_named(ended)}")
    return FAILED if ended else DONE


def _named(targets: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{clean(each['node'])} ({clean(each['state'])})" for each in targets)
