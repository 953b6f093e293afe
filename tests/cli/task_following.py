"""``farshore`` as a process that follows something of the small center."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cli.conftest import ContractCenter


PROGRAM = str(Path(sys.executable).with_name("farshore"))
DEADLINE_S = 60


def follow(center: "ContractCenter", environment: dict[str, str], *words: str) -> Any:
    """``farshore`` as a process; what follows happens once it has subscribed."""
    process = subprocess.Popen(
        [PROGRAM, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    timer = threading.Timer(DEADLINE_S, process.kill)
    timer.start()
    assert center.subscribed.wait(DEADLINE_S)
    return process, timer
