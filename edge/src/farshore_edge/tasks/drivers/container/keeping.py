"""Starts the program that ends a container when its lease does, where no agent lives to do it."""

import contextlib
import os
import subprocess
import sys

from farshore_edge.commands.verbs.table import process
from farshore_edge.tasks.drivers.container import keeper
from farshore_edge.tasks.drivers.container.engine import Engine
from farshore_edge.tasks.drivers.model import Work

STARTED_S = 20.0


def begin_keeping(engine: Engine, work: Work, container: str, pid: int) -> None:
    """Where one keeps this container already, the new one goes at once. Raises OSError."""
    seen = process(pid)
    argv = [
        *(sys.executable, "-I", "-S", keeper.__file__),
        *(str(engine.socket), container, str(work.lease), str(work.state / "keeper.lock")),
        *(work.stop_signal, str(pid), str(seen.started if seen is not None else 0)),
    ]
    child = subprocess.Popen(  # noqa: S603 # our own program; it leaves this process by itself
        argv,
        cwd="/",
        env={"PATH": os.environ.get("PATH", "")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        code = child.wait(STARTED_S)
    except subprocess.TimeoutExpired as exc:
        child.kill()
        with contextlib.suppress(OSError):
            child.wait()
        raise OSError(f"the keeper of the lease has not begun within {STARTED_S:g} s") from exc
    if code != 0:
        raise OSError(f"the keeper of the lease can't begin: exit code {code}")
