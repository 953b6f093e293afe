"""``farshore nodes`` and ``farshore node``: who is in the fleet, and everything about one of them."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from farshore_center.cli.books import read_book, verdict
from farshore_center.cli.cells import (
    NOTHING,
    age,
    clean,
    count,
    counted,
    flat,
    pairs,
    quantity,
    scalar,
)
from farshore_center.cli.session import Session, command
from farshore_center.cli.streams import books_sheet
from farshore_center.cli.tables import Cell, Sheet, left, right, state, whole

SUMMARY_FACTS = (
    "hostname",
    "os",
    "kernel",
    "arch",
    "board",
    "cpu",
    "mem",
    "swap",
    "virtualisation",
)
SUMMARY_LINES = 20


class NameFirst(TyperGroup):
    """``farshore node NAME`` is ``farshore node show NAME``, which is the longer way for a node that has the
    name of a command."""

    fallback = "show"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self.completed(args))

    def completed(self, args: list[str]) -> list[str]:
        named = bool(args) and args[0] not in (*self.commands, "-h", "--help")
        return [self.fallback, *args] if named else args


class Presence(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"


def register(app: typer.Typer) -> None:
    from farshore_center.cli import node_drain

    command(app, "nodes")(nodes)
    inner = typer.Typer(
        cls=NameFirst,
        no_args_is_help=True,
        help="Everything about one node; drain it, use it again.",
    )
    command(inner, "show")(node)
    node_drain.register(inner)
    app.add_typer(inner, name="node")


async def nodes(
    session: Session,
    state: Annotated[Presence | None, typer.Option(help="Only nodes in this state.")] = None,
    group: Annotated[
        str | None, typer.Option(metavar="PATH", help="Only this group and the groups in it.")
    ] = None,
    selector: Annotated[
        str | None, typer.Option(metavar="SELECTOR", help="Only the nodes that it means.")
    ] = None,
) -> None:
    """The fleet: one line per node, by group and name."""
    params = {"state": state.value if state else None, "group": group, "selector": selector}
    async with session.connect() as client:
        found = await client.items("/nodes", params)
        now_ms = client.now_ms()
    if session.as_json:
        session.document({"items": found, "next": None})
        return
    found.sort(key=lambda item: (item.get("group") or "", item["name"]))
    session.table(nodes_sheet(found, now_ms))
    session.styled(tally(found), "dim")


def nodes_sheet(items: Sequence[Mapping[str, Any]], now_ms: int) -> Sheet:
    columns = [
        *left("name", "group"),
        *whole("state"),
        *right("seen"),
        *left("agent"),
        *right("cpu", "mem"),
        *left("labels"),
    ]
    sheet = Sheet(columns=columns)
    for item in items:
        latest = item.get("latest") or {}
        sheet.add(
            clean(item["name"]),
            clean(item.get("group") or NOTHING),
            state(clean(item["state"])),
            age(item.get("last_seen"), now_ms),
            scalar(item.get("agent_version")),
            quantity(latest.get("cpu.percent"), "%"),
            quantity(latest.get("mem.percent"), "%"),
            pairs(item.get("labels") or {}),
        )
    return sheet


def tally(items: Sequence[Mapping[str, Any]]) -> str:
    """``3 nodes: 2 online, 1 offline``; with those that are drained, if there are any."""
    online = sum(item["state"] == Presence.ONLINE for item in items)
    offline = len(items) - online
    drained = sum(bool(item.get("drained")) for item in items)
    more = f", {count(drained)} drained" if drained else ""
    return f"{counted(len(items), 'node')}: {count(online)} online, {count(offline)} offline{more}"


async def node(
    session: Session,
    name: Annotated[str, typer.Argument(help="The node's name.")],
    facts: Annotated[bool, typer.Option("--facts", help="The whole tree of facts.")] = False,
) -> None:
    """Everything about one node."""
    from farshore_center.cli.client import segment

    async with session.connect() as client:
        found = await client.get(f"/nodes/{segment(name)}")
        books = await client.get(f"/nodes/{segment(name)}/streams")
        now_ms = client.now_ms()
    if session.as_json:
        session.document({**found, "streams": books["items"]})
        return
    if facts:
        _show_facts(session, found)
        return
    session.table(node_sheet(found, now_ms))
    session.text("")
    read = [read_book(item, name) for item in books["items"]]
    if read:
        session.table(books_sheet(read))
    session.text(verdict(read))


def node_sheet(item: Mapping[str, Any], now_ms: int) -> Sheet:
    """What is known about a node, one line a thing."""
    sheet = Sheet(columns=[*left("what"), *left("value")])
    offset = item.get("clock_offset_ms")
    config = item.get("config") or {}
    sheet.add("name", clean(item["name"]))
    sheet.add("group", clean(item.get("group") or NOTHING))
    sheet.add("labels", pairs(item.get("labels") or {}))
    sheet.add("state", state(clean(item["state"])))
    if item.get("drained"):
        sheet.add("drained", Cell("yes: it takes no new tasks", "yellow"))
    sheet.add("last seen", _when(item.get("last_seen"), now_ms))
    sheet.add("created", _when(item.get("created_at"), now_ms))
    sheet.add("boot, connection", f"{scalar(item.get('boot'))}, {scalar(item.get('conn'))}")
    sheet.add("agent", scalar(item.get("agent_version")))
    sheet.add("protocol", scalar(item.get("protocol")))
    sheet.add("clock offset", NOTHING if offset is None else f"{offset:+,.1f} ms")
    sheet.add("config", _config(config))
    for what, names in sorted((item.get("capabilities") or {}).items()):
        told = names if isinstance(names, list) else [names]
        sheet.add(clean(what), ", ".join(scalar(each) for each in told) or NOTHING)
    for lane, queue in sorted((item.get("queue") or {}).items()):
        sheet.add(f"queue {clean(lane)}", _queue(queue))
    for series, value in sorted((item.get("latest") or {}).items()):
        sheet.add(clean(series), scalar(value))
    facts = item.get("facts") or {}
    for what in ("gpus", "devices"):
        if named := _names(facts.get(what)):
            sheet.add(f"fact {what}", ", ".join(map(clean, named)))
    leaves = summary_facts(facts)
    for path, value in leaves.items():
        sheet.add(f"fact {clean(path)}", scalar(value))
    return sheet


def summary_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that a person looks for first: short values of the best-known branches."""
    known = {k: facts[k] for k in SUMMARY_FACTS if k in facts} or facts
    short = {p: v for p, v in flat(known).items() if v is not None and not isinstance(v, list)}
    return dict(list(short.items())[:SUMMARY_LINES])


def _names(items: Any) -> list[str]:
    """What tasks ask for by name: models of GPUs, devices."""
    some = [each for each in items if isinstance(each, Mapping)] if isinstance(items, list) else []
    return [str(name) for each in some if (name := each.get("name") or each.get("vendor"))]


def _when(text: str | None, now_ms: int) -> str:
    return f"{clean(text)} ({age(text, now_ms)} ago)" if text else NOTHING


def _config(config: Mapping[str, Any]) -> str:
    desired, reported = config.get("desired_rev"), config.get("reported_rev")
    return f"{scalar(config.get('state'))}, desired {scalar(desired)}, reported {scalar(reported)}"


def _queue(queue: Mapping[str, Any]) -> str:
    return f"{count(queue.get('records'))} records, {quantity(queue.get('bytes'), 'B')}"


def _show_facts(session: Session, found: Mapping[str, Any]) -> None:
    sheet = Sheet(columns=[*left("fact"), *left("value")])
    for path, value in flat(found.get("facts") or {}).items():
        sheet.add(clean(path), scalar(value))
    if sheet.rows:
        session.table(sheet)
    else:
        session.text(f"{clean(found['name'])} has reported no facts yet")
