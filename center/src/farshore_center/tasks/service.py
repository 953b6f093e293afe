"""What people do with tasks: put, look, stop, start, restart, delete; drain nodes; look at the pool.

Each change is one transaction with a line of history that says who. It does not know HTTP. Answers are
documents: JSON-ready dictionaries, in the shapes that the docstrings give.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """``document``: ``{"name","revision","spec","digest"}``; ``changed``: false where it was so already.
    ``notes``: what its author should know, ``{"field","detail","expected"}`` each."""

    document: dict[str, Any]
    created: bool
    changed: bool
    notes: tuple[dict[str, Any], ...] = ()

    @property
    def etag(self) -> str:
        return f'"{self.document["revision"]}"'


class TaskService:
    async def put(self, name: str, spec_raw: Any, if_match: str | None, by: str) -> Put:
        """Makes or changes a task. Problem 422 for what is wrong with it, 412 where ``if_match`` (an
        ETag or ``*``) is not its revision, 409 while it is being deleted."""
        raise NotImplementedError

    async def delete(self, name: str, by: str, if_match: str | None = None) -> dict[str, Any]:
        """Stops it everywhere, and forgets it once it has ended. The task's document, with
        ``wanted: delete``; Problem 404."""
        raise NotImplementedError

    async def stop(self, name: str, by: str) -> dict[str, Any]:
        """Stops every instance and keeps the task. Its document; Problem 404, 409 while it is deleted."""
        raise NotImplementedError

    async def start(self, name: str, by: str) -> dict[str, Any]:
        """Runs a stopped task again, and a batch that is done or failed once more."""
        raise NotImplementedError

    async def restart(self, name: str, by: str) -> dict[str, Any]:
        """Ends every instance orderly and grants it anew."""
        raise NotImplementedError

    async def page(self, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """``{"items": [task without instances …], "next": cursor or None}``, by name."""
        raise NotImplementedError

    async def get(self, name: str) -> dict[str, Any]:
        """``{"name","revision","spec","digest","wanted","state","created","updated","next","instances",
        "summary"}``; ``state``: ``running``, ``pending``, ``degraded``, ``done``, ``failed``, ``stopped``
        or ``deleting``; each of ``instances``: ``{"instance","attempt","epoch","node","state","since",
        "healthy","restarts","exit_code","reason","result","pending_reason","cpus","gpus"}``. Problem 404."""
        raise NotImplementedError

    async def explain(self, name: str, instance: int | None = None) -> dict[str, Any]:
        """``{"instances":[{"instance","decided_at","decision","node","policy","scores","rejected",
        "candidates","estimate"}]}``; Problem 404."""
        raise NotImplementedError

    async def history(
        self, name: str, limit: int = 200, instance: int | None = None
    ) -> dict[str, Any]:
        """``{"items":[{"at","instance","epoch","node","state","reason","by"}]}``, the newest last;
        also of a task that was deleted. Problem 404."""
        raise NotImplementedError

    async def drain(
        self, node: str, deadline_s: float | None, reason: str, by: str
    ) -> dict[str, Any]:
        """Nothing new comes to the node, and what it has moves, services at once as budgets permit, batch
        work when it has ended or at the deadline. ``{"node","drained","since","deadline","reason","by",
        "instances"}``; Problem 404."""
        raise NotImplementedError

    async def undrain(self, node: str, by: str) -> dict[str, Any]:
        """The node takes work again; the same document."""
        raise NotImplementedError

    async def pool(self) -> dict[str, Any]:
        """``{"total": SHARE, "groups": {path: SHARE}, "silos": …}``; SHARE is ``{"nodes","online",
        "drained","capacity","reserved","used","stranded"}``, each of the last four ``{"cpu_milli",
        "memory_bytes","disk_bytes","gpu_milli"}`` (``used`` of what telemetry tells, None where not)."""
        raise NotImplementedError
