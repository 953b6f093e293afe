"""What ends a ``farshore`` command early, and with which exit code.

CommandLineError(CenterError)  1  the work failed somewhere
├── BadUsageError              2  what was asked for makes no sense
├── UnreachableError           3  no center answers at the address
└── RefusedError            1, 2  the center answered with a problem (2 where the request was wrong)
"""

from collections.abc import Mapping, Sequence
from typing import Any

from farshore_center.cli.cells import clean
from farshore_center.cli.tables import width_of
from farshore_center.errors import CenterError

DONE = 0
FAILED = 1
BAD_USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130

_BEFORE, _AFTER = 50, 30
"""So many characters of a selector are shown around the place."""

_WRONG_REQUEST = frozenset({400, 413, 415, 422})


class CommandLineError(CenterError):
    """Root: something an operator should read, not a traceback."""

    exit_code = FAILED
    title = "failed"

    def problem(self) -> dict[str, Any]:
        """The same as a problem document, for ``--json``."""
        return {"type": "about:blank", "title": self.title, "detail": str(self)}


class BadUsageError(CommandLineError):
    """The command line itself is wrong; the center was not asked."""

    exit_code = BAD_USAGE
    title = "bad usage"


class UnreachableError(CommandLineError):
    """No center answered, or what answered is no center."""

    exit_code = UNREACHABLE
    title = "the center can't be reached"


class RefusedError(CommandLineError):
    """The center answered with an error; ``document`` is its problem document."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status = status
        self.document = {"status": status, **document}
        super().__init__(explain(status, document))
        self.exit_code = BAD_USAGE if status in _WRONG_REQUEST else FAILED

    def problem(self) -> dict[str, Any]:
        return self.document


def explain(status: int, document: Mapping[str, Any]) -> str:
    """A problem document as text: what, then one line for each field that was wrong."""
    title = document.get("title") or "the center refused"
    detail = document.get("detail")
    head = f"{title} ({status})"
    selector = document.get("selector")
    if isinstance(selector, Mapping):
        return "\n".join([clean(f"{head}: {detail}" if detail else head), *_pointed(selector)])
    given = document.get("errors")
    errors = (
        [each for each in given if isinstance(each, Mapping)] if isinstance(given, list) else []
    )
    if detail and _says_it_all(str(detail), errors):
        errors = []
    elif detail in (_named(errors), "; ".join(str(each.get("detail")) for each in errors)):
        detail = ""  # the lines below say the same, and where
    lines = [f"{head}: {detail}" if detail else head]
    lines += [_field_line(error) for error in errors]
    return "\n".join(clean(line) for line in lines)


def _says_it_all(detail: str, errors: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the one line of a field would only repeat the sentence above it."""
    return (
        len(errors) == 1
        and not errors[0].get("expected")
        and detail in (errors[0].get("detail"), _named(errors))
    )


def _named(errors: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(f"{each.get('field')}: {each.get('detail')}" for each in errors)


def _field_line(error: Mapping[str, Any]) -> str:
    expected = error.get("expected")
    line = f"  {error.get('field', '?')}: {error.get('detail', '')}"
    return line + (f" (expected {expected})" if expected else "")


def _pointed(selector: Mapping[str, Any]) -> list[str]:
    """The part of a selector that is wrong, and a caret below the place."""
    text, column = str(selector.get("text", "")), int(selector.get("column", 1))
    start = max(0, column - 1 - _BEFORE)
    before, after = clean(text[start : column - 1]), clean(text[column - 1 : column - 1 + _AFTER])
    mark = "…" if start else ""
    expected = selector.get("expected")
    caret = " " * width_of(mark + before) + "^"
    return [
        f"  {mark}{before}{after}",
        f"  {caret}" + (f" expected {clean(str(expected))}" if expected else ""),
    ]
