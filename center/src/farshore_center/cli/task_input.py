"""The file that a task is written in: its specification, with its name beside it. Pure."""

from typing import Any, NamedTuple

from farshore_center.cli.cells import clean
from farshore_center.cli.errors import BadUsageError


class Written(NamedTuple):
    name: str
    spec: dict[str, Any]


def written(document: Any, file: str, name: str | None) -> Written:
    """``name`` of the command line goes before that of the file. Raises BadUsageError."""
    if not isinstance(document, dict):
        raise BadUsageError(f"{clean(file)}: expected a task: an object with kind and driver")
    spec = dict(document)
    given = spec.pop("name", None)
    if given is not None and not isinstance(given, str):
        raise BadUsageError(f"{clean(file)}: name: expected a text, got {type(given).__name__}")
    if not (name or given):
        raise BadUsageError(
            f"{clean(file)}: which task? Write name: NAME in it, or give --name NAME"
        )
    return Written(name or str(given), spec)
