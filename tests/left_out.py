"""What a machine can't test is left out, and said so at the end of the run, counted by reason."""

from collections import Counter
from collections.abc import Iterable
from typing import NoReturn

import pytest

PREFIX = "left out: "


def leave_out(why: str) -> NoReturn:
    """Skips the test. ``why``: what the machine lacks, and how to get it."""
    pytest.skip(PREFIX + why)


def counted(reasons: Iterable[str]) -> Counter[str]:
    """Reason → number of tests, of those that were left out."""
    found = (reason.removeprefix("Skipped: ") for reason in reasons)
    return Counter(each.removeprefix(PREFIX) for each in found if each.startswith(PREFIX))
