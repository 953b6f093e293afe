"""Cursors of lists that are ordered by a number and a name: opaque to who asks, and refused when they are
none of ours."""

import base64
import binascii

from farshore_center.api.problems import Problem


def write_cursor(number: int, name: str) -> str:
    return base64.urlsafe_b64encode(f"{number}.{name}".encode()).decode()


def read_cursor(cursor: str) -> tuple[int, str]:
    """Problem for what ``write_cursor`` has not made."""
    try:
        number, _, name = base64.urlsafe_b64decode(cursor).decode("ascii").partition(".")
        return int(number), name
    except (ValueError, binascii.Error) as exc:
        raise Problem(
            status=422,
            title="The request is not valid",
            field="cursor",
            detail=f"{cursor[:100]!a} is no cursor",
            expected="the value of `next` in the page before",
        ) from exc
