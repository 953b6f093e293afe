"""What is handed to the program that submits a task's work to a Dask cluster. Pure."""

from collections.abc import Mapping
from typing import Any

from farshore_protocol.tasks.settings import DaskSettings


def order(
    run: DaskSettings, *, scheduler: str, wheel: str | None, work_id: str
) -> Mapping[str, Any]:
    """JSON for ``submit.py``. Pure."""
    return {
        "scheduler": scheduler,
        "work": work_id,
        "entry": run.entry,
        "args": list(run.args),
        "kwargs": run.kwargs,
        "wheel": wheel,
        "resources": run.resources,
        "retries": run.retries,
        "context": run.context,
        "wait_s": run.wait_s,
    }
