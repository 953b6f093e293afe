"""``farshore verbs``: what nodes can be asked to do, and with which arguments."""

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from farshore_protocol.commands.schema import type_text

from farshore_center.cli.cells import NOTHING, clean, counted
from farshore_center.cli.errors import CommandLineError, RefusedError
from farshore_center.cli.session import Session, command
from farshore_center.cli.tables import Sheet, left, right

Document = Mapping[str, Any]
NOT_FOUND = 404


def register(app: typer.Typer) -> None:
    command(app, "verbs")(verbs)


async def verbs(
    session: Session,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[VERB|NODE]", help="One verb with its arguments, or a node's verbs."
        ),
    ] = None,
    node: Annotated[
        str | None, typer.Option(metavar="NODE", help="A node that is called like a verb.")
    ] = None,
) -> None:
    """What nodes can be asked to do: all verbs, those of a node, or one with its arguments."""
    from farshore_center.cli.client import segment

    async with session.connect() as client:
        catalogue = await client.get("/verbs")
        found = next((v for v in catalogue["items"] if v["name"] == name and node is None), None)
        asked = node if node is not None else name
        if found is None and asked is not None:
            try:
                node_verbs = await client.get(f"/nodes/{segment(asked)}/verbs")
            except RefusedError as exc:
                if node is not None or exc.status != NOT_FOUND:
                    raise
                raise CommandLineError(_neither(asked, catalogue["items"])) from exc
            catalogue = node_verbs
    if session.as_json:
        session.document(catalogue if found is None else found)
    elif found is not None:
        _one(session, found)
    else:
        session.table(verbs_sheet(catalogue["items"]))
        if catalogue.get("same") is False:
            session.note(
                f"farshore: {clean(asked or '')} runs another version: arguments may differ; "
                f"ask it: farshore run {clean(asked or '')} verbs --arg verb=NAME"
            )


def _neither(name: str, items: Sequence[Document]) -> str:
    near = difflib.get_close_matches(name, [str(each["name"]) for each in items], n=2)
    hint = f"; did you mean {clean(' or '.join(near))}?" if near else ""
    return f"there is neither a verb nor a node {clean(name)!r}{hint}"


def verbs_sheet(items: Sequence[Document]) -> Sheet:
    sheet = Sheet(
        columns=[
            *left("verb", "risk"),
            *right("timeout", "nodes"),
            *left("arguments", "what it does"),
        ]
    )
    for item in items:
        timeout_s = item.get("timeout_s")
        sheet.add(
            clean(item["name"]),
            clean(item.get("risk") or NOTHING),
            NOTHING if timeout_s is None else f"{timeout_s:g}s",
            str(item.get("nodes", 0)),
            ", ".join(_names(item.get("args"))) or NOTHING,
            clean(item.get("summary") or "not in this center's catalogue"),
        )
    return sheet


def _names(schema: Document | None) -> list[str]:
    """The required ones first; ``?`` marks those that may be left out."""
    if not schema:
        return []
    required = set(schema.get("required") or ())
    given = [clean(name) for name in schema.get("properties") or {}]
    return [n for n in given if n in required] + [f"{n}?" for n in given if n not in required]


def _one(session: Session, verb: Document) -> None:
    session.text(f"{clean(verb['name'])}: {clean(verb.get('summary') or '')}")
    if not verb.get("known"):
        session.text("not in this center's catalogue; the node checks the arguments")
        return
    facts = [
        f"risk {verb['risk']}",
        f"again after a crash: {'yes' if verb['idempotent'] else 'no'}",
        f"timeout {verb['timeout_s']:g} s",
        *(f"needs {need}" for need in verb["needs"]),
        f"{counted(verb['nodes'], 'node')}",
    ]
    session.text("; ".join(facts))
    for title, schema, with_default in (
        ("arguments", verb["args"], True),
        ("result", verb["result"], False),
    ):
        if not schema:
            continue
        session.text("")
        if not schema.get("properties"):
            session.text(f"no {title}")
            continue
        session.table(fields_sheet(title, schema, with_default=with_default))
        if schema.get("description"):
            session.text(clean(schema["description"]))


def fields_sheet(title: str, schema: Document, *, with_default: bool) -> Sheet:
    columns = left(title, "type", "default") if with_default else left(title, "type")
    sheet = Sheet(columns=columns)
    for name, of in schema["properties"].items():
        cells = [clean(name), clean(type_text(of))]
        if with_default:
            required = name in (schema.get("required") or ())
            default = of.get("default")
            shown = NOTHING if default is None else json.dumps(default)
            cells.append("required" if required else clean(shown))
        sheet.add(*cells)
    return sheet
