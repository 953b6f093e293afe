"""For all tests: how long property tests search. ``HYPOTHESIS_PROFILE`` or ``CI`` chooses."""

import os
import signal

from hypothesis import settings

settings.register_profile("dev", max_examples=60, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if "CI" in os.environ else "dev")
)

# A shell that starts pytest in the background makes it ignore Ctrl-C, and so every program that
# the tests start; some of those are ended by it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
