"""Every line of the center's log, ours and the libraries', is one line with its fields."""

import subprocess
import sys

SCRIPT = """
import logging
import structlog
from farshore_center.cli.center import _set_up_logging

_set_up_logging("INFO")
log = structlog.get_logger("ours")
log.info("node is online", node="pi-1", reason="birth")
log.debug("not shown")
logging.getLogger("library").warning("the link is down", extra={"retry_in_s": 2})
try:
    raise ValueError("a defect")
except ValueError as exc:
    log.critical("a part broke", part="ingest", exc_info=exc)
"""


def test_lines_have_fields_and_tracebacks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30, check=True
    )
    ours, library, broken = done.stderr.strip().splitlines()
    assert done.stdout == ""
    assert ours.startswith("timestamp=20")
    assert 'level=info event="node is online"' in ours
    assert "node=pi-1" in ours
    assert 'level=warning event="the link is down"' in library
    assert "retry_in_s=2" in library
    assert "level=critical" in broken
    assert "ValueError: a defect" in broken
    assert "Traceback" in broken
