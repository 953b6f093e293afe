"""What a task says of its work for a Dask cluster, and what is handed to the program that submits it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from farshore_edge.tasks.drivers.python.settings import Entry

Address = Annotated[str, Meta(pattern=r"^(tcp|tls)://\S+:[0-9]{1,5}$", max_length=512)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DaskSettings:
    """``entry``: ``module:function``, called once on a worker with ``args`` and ``kwargs`` (JSON); what it
    returns is JSON and becomes the task's result. Its module is installed at the workers, or comes with
    ``wheel``, an artifact in the instance's folder, which is sent to them.

    ``scheduler``: else the node's own. ``resources``: of a worker, as Dask counts them. ``retries``: by
    Dask, where a worker dies under it. ``context``: the name of an argument that gets the instance's
    variables ``FARSHORE_*``, its fencing token among them. ``wait_s``: for the scheduler to answer.
    """

    entry: Entry
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    scheduler: Address | None = None
    wheel: Annotated[str, Meta(pattern=r"^[^/\x00][^\x00]*\.whl$", max_length=512)] | None = None
    resources: dict[str, Annotated[float, Meta(gt=0)]] = field(default_factory=dict)
    retries: Annotated[int, Meta(ge=0, le=100)] = 0
    context: Name | None = None
    wait_s: Annotated[float, Meta(gt=0, le=600)] = 30.0


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
