"""``farshore events``: what happened in the fleet, and live what happens."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from farshore_center.cli.cells import NOTHING, clean, scalar
from farshore_center.cli.errors import UnreachableError
from farshore_center.cli.session import Session, command
from farshore_center.cli.tables import STATE_STYLES

if TYPE_CHECKING:
    from farshore_center.cli.client import CenterClient

RECONNECT_S = 1.0
KIND_WIDTH = 16
NODE_WIDTH = 12

Event = Mapping[str, Any]


def register(app: typer.Typer) -> None:
    command(app, "events")(events)


async def events(
    session: Session,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Live, until Ctrl-C; reconnects by itself.")
    ] = False,
    node: Annotated[str | None, typer.Option(help="Only of this node.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="Only of this kind, for example node.offline.")
    ] = None,
    since: Annotated[
        int | None, typer.Option(metavar="ID", min=0, help="Only after the event with this id.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50,
) -> None:
    """The latest events, oldest first; or, with --follow, what happens from now on."""
    params = {"node": node, "kind": kind}
    async with session.connect() as client:
        if follow:
            async for event in live(client, params, since):
                _show(session, event)
            return
        page = await client.get("/events", {**params, "limit": limit, "after": since})
    items = [e for e in page["items"] if since is None or e["id"] > since][-limit:]
    if session.as_json:
        session.document({"items": items, "next": None})
        return
    for event in items:
        _show(session, event)
    if not items:
        session.text("no events")


async def live(
    client: "CenterClient", params: Mapping[str, Any], since: int | None
) -> AsyncIterator[Event]:
    """Events without end and without gaps: a lost connection goes on after the last one seen.

    A center that can't be reached at the start is an error; one that goes away later is waited for.
    """
    last = since if since is not None else await _latest(client)
    connected = False
    while True:
        try:
            async with client.subscribe(params, last) as stream:
                connected = True
                async for batch in stream:
                    for event in batch:
                        last = event.get("id", last)
                        yield event
        except UnreachableError:
            if not connected:
                raise
        await asyncio.sleep(RECONNECT_S)


async def _latest(client: "CenterClient") -> int:
    """The id to begin after, so that even a cut before the first event leaves no gap."""
    items = (await client.get("/events", {"limit": 1}))["items"]
    return int(items[-1]["id"]) if items else 0


def _show(session: Session, event: Event) -> None:
    if session.as_json:
        session.json_line(event)
    else:
        session.styled(event_line(event), style_of(event))


def event_line(event: Event) -> str:
    """``123  2026-01-02T03:04:05Z  node.online  pi-1  boot=9f3c``."""
    fields = [
        str(event["id"]),
        clean(event["at"]),
        clean(event["kind"]).ljust(KIND_WIDTH),
        scalar(event.get("node")).ljust(NODE_WIDTH),
    ]
    if event.get("command"):
        fields.append(clean(event["command"]))
    data = event.get("data") or {}
    fields.append(
        " ".join(f"{clean(k)}={scalar(v)}" for k, v in data.items() if v not in (None, [], {}, ""))
        or NOTHING
    )
    return "  ".join(fields)


def style_of(event: Event) -> str:
    """The colour of the state that the event tells of."""
    state = (event.get("data") or {}).get("state") or event["kind"].rpartition(".")[2]
    return STATE_STYLES.get(state, "")
