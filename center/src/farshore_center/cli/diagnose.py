"""``farshore diagnose``: a node's diagnosis, saved as a file that can be sent to whoever helps."""

import asyncio
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from farshore_center.cli.cells import clean, counted
from farshore_center.cli.errors import DONE, FAILED, BadUsageError
from farshore_center.cli.progress import all_succeeded, first_line, targets_of
from farshore_center.cli.session import Session, command

VERB = "diagnose"


def register(app: typer.Typer) -> None:
    command(app, "diagnose")(diagnose)


async def diagnose(
    session: Session,
    node: Annotated[str, typer.Argument(metavar="NODE", help="The node's name.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to save it. Default: NODE-TIME.json here."
        ),
    ] = None,
    lines: Annotated[
        int, typer.Option(min=0, max=2000, help="At most this many lines of the agent's log.")
    ] = 300,
    ttl: Annotated[
        float, typer.Option(min=0.001, metavar="SECONDS", help="How long the node may be absent.")
    ] = 60,
) -> int:
    """Save what support wants to see of a node: state, books, log, settings without secrets."""
    from farshore_center.cli.follow import Unseen, follow

    if output is not None and not output.parent.is_dir():
        raise BadUsageError(f"--output {clean(str(output))!r}: there is no such folder")
    body = {"node": node, "verb": VERB, "args": {"lines": lines}, "ttl_s": ttl}
    async with session.connect() as client:
        made = await client.post("/commands", body)
        session.note(f"{clean(node)} is asked ({clean(made['id'])}) …")
        end = await follow(client, made, Unseen())
        now_ms = client.now_ms()
    [target] = targets_of(end)
    if not all_succeeded(end):
        if session.as_json:
            session.document(end)
        session.note(f"farshore: {clean(node)}: {clean(target['state'])}: {first_line(target)}")
        return FAILED
    found: Mapping[str, Any] = target["result"]
    if session.as_json and output is None:
        session.document(found)
        return DONE
    file = output or Path(f"{node}-{_stamp(now_ms)}.json")
    try:
        await asyncio.to_thread(_save, file, json.dumps(found, indent=2))
    except OSError as exc:
        raise BadUsageError(f"--output {clean(str(file))!r}: {exc.strerror}") from exc
    if session.as_json:
        session.document({"file": str(file), "node": node, "redacted": found.get("redacted")})
    else:
        session.text(f"{clean(str(file))}  {_about(found)}")
    return DONE


def _about(found: Mapping[str, Any]) -> str:
    """What stands in it, and what could not be found out."""
    sections: Mapping[str, Any] = found.get("sections") or {}
    unknown = [
        name for name, each in sections.items() if isinstance(each, dict) and set(each) == {"error"}
    ]
    said = [
        counted(len(sections) - len(unknown), "section"),
        counted(len(found.get("log") or ()), "line") + " of log",
        counted(int(found.get("redacted") or 0), "secret") + " left out",
    ]
    if unknown:
        said.append(f"not found out: {clean(', '.join(unknown))}")
    return ", ".join(said)


def _stamp(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")


def _save(file: Path, text: str) -> None:
    """Whole or not at all; for its owner alone, for what it tells is nobody else's business."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(text + "\n")
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
