"""For all tests: how long property tests search. ``HYPOTHESIS_PROFILE`` or ``CI`` chooses."""

import gc
import os
import signal

import pytest
from hypothesis import settings
from left_out import counted

settings.register_profile("dev", max_examples=60, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if "CI" in os.environ else "dev")
)

# A shell that starts pytest in the background makes it ignore Ctrl-C, and so every program that
# the tests start; some of those are ended by it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What is imported now lives as long as the tests: nobody need look for garbage in it."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says loudly what this machine could not test."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = [each.longrepr[2] for each in skipped if isinstance(each.longrepr, tuple)]
    left_out = counted(reasons)
    if left_out:
        terminalreporter.section("left out on this machine", sep="!", red=True, bold=True)
        for why, number in left_out.most_common():
            terminalreporter.line(f"{number:5} tests: {why}", red=True)
        total = sum(left_out.values())
        terminalreporter.line(f"{total:5} tests were left out in all", red=True, bold=True)
