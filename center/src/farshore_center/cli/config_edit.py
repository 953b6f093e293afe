"""``farshore config edit``: a layer in the person's own editor, with the difference before it is set.

What was written is never lost: when it can't be set it stays in a file, and that is said.
"""

import asyncio
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from farshore_center.cli import config_layer as layer_of
from farshore_center.cli.cells import clean
from farshore_center.cli.config_change import preview_layer, read_layer, say_made, tell_preview
from farshore_center.cli.config_input import read_document
from farshore_center.cli.config_layer import Author, Defaults, Group, Message, Node, Overlay
from farshore_center.cli.errors import BadUsageError, RefusedError
from farshore_center.cli.session import Session, command

DONE, FAILED = 0, 1
PRECONDITION_FAILED = 412

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Set it without asking.")]


def register(config: typer.Typer) -> None:
    command(config, "edit")(edit)


async def edit(
    session: Session,
    group: Group = None,
    overlay: Overlay = None,
    node: Node = None,
    defaults: Defaults = False,
    message: Message = None,
    author: Author = None,
    yes: Yes = False,
) -> int:
    """Edit a layer with $VISUAL or $EDITOR, look at what would change, and set it."""
    layer = layer_of.chosen(group, overlay, node, defaults)
    if not yes and not sys.stdin.isatty():
        raise BadUsageError("nobody is there to be asked; give --yes, or use: farshore config set")
    async with session.connect() as client:
        found = await read_layer(client, layer)
        file = _written(layer, found)
        while True:
            await asyncio.to_thread(_run_editor, file)
            try:
                patch = read_document(file.read_bytes(), file.name)
                patch = {} if patch is None else patch  # everything was taken out
            except BadUsageError as exc:
                if _again(yes, str(exc)):
                    continue
                raise BadUsageError(f"{exc}; the text is kept in {file}") from exc
            if patch == found["patch"]:
                _removed(file)
                session.text(f"{clean(layer)}: nothing changed")
                return DONE
            seen = await preview_layer(client, {"layer": layer, "patch": patch})
            tell_preview(session, seen)
            if not seen["valid"]:
                if _again(yes, "it would be refused"):
                    continue
                session.text(f"nothing is set; the text is kept in {file}")
                return FAILED
            if not yes and not typer.confirm(f"Set {layer}?"):
                session.text(f"nothing is set; the text is kept in {file}")
                return FAILED
            break
        body = {"patch": patch, "message": message or "", "author": layer_of.who(author)}
        headers = {"If-Match": f'"{found["rev"]}"'}
        try:
            made = await client.change("PUT", layer_of.layer_path(layer), body, headers=headers)
        except RefusedError as exc:
            if exc.status == PRECONDITION_FAILED:
                session.text(
                    f"somebody changed {clean(layer)} since revision {found['rev']}; nothing is set, "
                    f"the text is kept in {file}: edit again and take over what is missing"
                )
                return FAILED
            session.text(f"the text is kept in {file}")
            raise
    _removed(file)
    say_made(session, made)
    return DONE


def _written(layer: str, found: dict[str, Any]) -> Path:
    """A file of the person's own with the layer in it: YAML, or JSON where YAML would be read
    otherwise."""
    import yaml

    folder = Path(tempfile.mkdtemp(prefix="farshore-edit-"))
    name = layer.replace(":", "-").replace("/", "~")
    patch = found["patch"]
    at = f"# {layer}, revision {found['rev']}; what follows a # is dropped\n"
    text = yaml.safe_dump(patch, sort_keys=False, allow_unicode=True) if patch else ""
    try:
        if (read_document((at + text).encode(), f"{name}.yaml") or {}) == patch:
            file = folder / f"{name}.yaml"
            file.write_text(at + text)
            return file
    except BadUsageError:
        pass
    file = folder / f"{name}.json"
    file.write_text(json.dumps(patch, indent=2, ensure_ascii=False) + "\n")
    return file


def _run_editor(file: Path) -> None:
    words = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    try:
        ended = subprocess.run([*words, str(file)], check=False)  # noqa: S603 # the person's choice
    except (OSError, ValueError) as exc:
        raise BadUsageError(
            f"the editor {words[:1]} can't be started: {exc}; set EDITOR; the text is in {file}"
        ) from exc
    if ended.returncode != 0:
        raise BadUsageError(
            f"{words[0]} ended with {ended.returncode}; nothing is set, the text is in {file}"
        )


def _again(yes: bool, why: str) -> bool:
    return not yes and typer.confirm(f"{why}. Edit again?", default=True)


def _removed(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.parent.rmdir()
