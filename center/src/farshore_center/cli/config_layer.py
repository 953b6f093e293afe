"""Which layer a ``farshore config`` command means, and the file that it reads."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from farshore_center.cli.cells import clean
from farshore_center.cli.config_input import MAX_FILE_BYTES, read_document
from farshore_center.cli.errors import BadUsageError

Group = Annotated[str | None, typer.Option(metavar="PATH", help="The layer of this group.")]
Overlay = Annotated[str | None, typer.Option(metavar="NAME", help="The layer of this overlay.")]
Node = Annotated[str | None, typer.Option(metavar="NAME", help="The layer of this node.")]
Defaults = Annotated[bool, typer.Option("--defaults", help="The layer below all others.")]
Message = Annotated[
    str | None, typer.Option("--message", "-m", help="Why; kept with the revision.")
]
Author = Annotated[
    str | None,
    typer.Option(
        envvar="FARSHORE_AUTHOR", help="Who; kept with the revision. Else: the login name."
    ),
]
File = Annotated[
    str, typer.Argument(metavar="FILE", help="YAML, JSON or TOML; - reads the standard input.")
]


def chosen(group: str | None, overlay: str | None, node: str | None, defaults: bool) -> str:
    """``group:eu``; exactly one of the four, or it is bad usage."""
    from farshore_protocol.errors import RemoteProtocolError

    from farshore_center.config.address import parse

    given = [
        f"{kind}:{name}"
        for kind, name in (("group", group), ("overlay", overlay), ("node", node))
        if name is not None
    ] + (["defaults"] if defaults else [])
    if len(given) != 1:
        raise BadUsageError("which layer? Give one of --group, --overlay, --node and --defaults")
    try:
        return str(parse(given[0]))
    except RemoteProtocolError as exc:
        raise BadUsageError(clean(exc.detail)) from exc


def layer_path(layer: str) -> str:
    """Where the center has it: a group's slashes travel as ``~``, so that no name is ambiguous."""
    kind, _, name = layer.partition(":")
    return f"/config/{kind}" + (f"/{name.replace('/', '~')}" if name else "")


def read_file(name: str) -> Any:
    """The document in a file, or in the standard input for ``-``."""
    try:
        if name == "-":
            text = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                text = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise BadUsageError(f"{clean(name)}: {exc.strerror}") from exc
    return read_document(text, name)


def who(author: str | None) -> str:
    """The author of a change, until the center has logins."""
    if author:
        return author
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "cli"


def upon(layer: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The layer's patch with another one upon it; a null of either stays a null, as a layer's does."""
    found = dict(layer)
    for key, each in patch.items():
        below = found.get(key)
        both = isinstance(each, Mapping) and isinstance(below, Mapping)
        found[key] = upon(below, each) if both else each  # type: ignore[arg-type] # both are
    return found
