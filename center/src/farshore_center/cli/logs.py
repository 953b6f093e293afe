"""``farshore logs``: a log of one node, its last lines or live."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from farshore_center.cli.cells import block, clean
from farshore_center.cli.errors import DONE, FAILED, BadUsageError, RefusedError, UnreachableError
from farshore_center.cli.session import Session, command

if TYPE_CHECKING:
    from farshore_center.cli.client import CenterClient

AGAIN_S = 2.0
ANSWER_S = 30.0
FOLLOW_MOST = 1000
_COMES_BACK = frozenset({409, 504})
"""The node is away, or its agent is just starting."""


def register(app: typer.Typer) -> None:
    command(app, "logs")(logs)


async def logs(
    session: Session,
    node: Annotated[str, typer.Argument(metavar="NODE", help="The node's name.")],
    unit: Annotated[
        str | None, typer.Argument(metavar="[UNIT]", help="A unit of its systemd journal.")
    ] = None,
    path: Annotated[
        str | None, typer.Option(metavar="FILE", help="In place of a unit: a log file of the node.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Live, until Ctrl-C; takes it up by itself.")
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, max=10_000, help="The last so many.")
    ] = 100,
    grep: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only lines that hold it.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Of a unit, as journalctl takes it: -1h.")
    ] = None,
) -> int:
    """The last lines of a log of a node, or with --follow what comes from now on, too."""
    if (unit is None) == (path is None):
        raise BadUsageError("which log? Name a unit, or a file by --path")
    wanted = {"unit": unit, "path": path, "lines": lines, "grep": grep, "since": since}
    some = {key: value for key, value in wanted.items() if value is not None}
    async with session.connect() as client:
        if follow:
            await live_lines(session, client, node, {**some, "lines": min(lines, FOLLOW_MOST)})
            return DONE
        return await last_lines(session, client, node, some)


async def last_lines(
    session: Session, client: "CenterClient", node: str, args: dict[str, Any]
) -> int:
    """By the verb ``logs``; the exit code."""
    from farshore_center.cli.follow import Unseen, follow

    body = {"node": node, "verb": "logs", "args": args, "ttl_s": ANSWER_S, "timeout_s": ANSWER_S}
    made = await client.post("/commands", body)
    end = await follow(client, made, Unseen())
    if session.as_json:
        session.document(end)
    (target,) = end["targets"]
    if not session.as_json:
        text = block("".join(chunk["text"] for chunk in target.get("output") or []))
        if text:
            session.text(text.removesuffix("\n"))
    if target["state"] == "succeeded":
        return DONE
    why = (target.get("error") or {}).get("message") or target["state"]
    session.note(f"farshore: {clean(node)}: {clean(why)}")
    return FAILED


async def live_lines(
    session: Session, client: "CenterClient", node: str, params: Mapping[str, Any]
) -> None:
    """Without end. What can't be had at the start is an error; what breaks off later comes back."""
    from farshore_center.cli.client import segment

    path = f"/nodes/{segment(node)}/logs"
    begun, said = False, ""
    while True:
        why = ""
        try:
            async with client.subscribe(params, path=path) as stream:
                async for batch in stream:
                    for document in batch:
                        if document.get("kind") == "start":
                            begun, said = True, ""
                        why = show(session, document) or why
            why = why or "the connection was closed"
        except UnreachableError as exc:
            if not begun:
                raise
            why = str(exc)
        except RefusedError as exc:
            if not begun or exc.status not in _COMES_BACK:
                raise
            why = str(exc)
        if why != said:
            session.note(
                f"farshore: {clean(node)}: {clean(why)}; it is taken up again with its last lines"
            )
        said = why
        await asyncio.sleep(AGAIN_S)


def show(session: Session, document: Mapping[str, Any]) -> str | None:
    """Prints one document of the stream; why it ended, if this is its end."""
    if session.as_json:
        session.json_line(document)
    if document.get("kind") == "end":
        return f"{document.get('reason')} {document.get('detail') or ''}".strip()
    if session.as_json:
        return None
    missing = []
    if document.get("dropped"):
        missing.append(f"{document['dropped']} lines were left out")
    if document.get("lost"):
        missing.append(f"{document['lost']} messages were lost on the way")
    if missing:
        session.note(f"farshore: {', '.join(missing)}")
    for line in document.get("lines") or ():
        session.text(block(line))
    return None
