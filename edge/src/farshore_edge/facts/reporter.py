"""Reports the machine's facts once after a start. How they are found out is the machine's business."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

log = logging.getLogger(__name__)

RETRY_S = 600.0

Append = Callable[[str, str, dict[str, Any]], Awaitable[int]]
"""Appends a record to a stream: its name, the topic below the node, the body."""

Cluster = Callable[[], Awaitable[dict[str, Any] | None]]
"""What a driver adds to this node that hands work to a cluster; None where there is none."""


class FactsReporter:
    """``digest``: of the facts that were reported; empty before."""

    def __init__(
        self, facts: Callable[[], dict[str, Any]], append: Append, *, cluster: Cluster
    ) -> None:
        """``facts`` is called in a thread; ``cluster``: the fact of that name, or None."""
        self._facts = facts
        self._cluster = cluster
        self._append = append
        self.digest = ""

    async def run(self) -> None:
        """Until they are reported."""
        while True:
            if await self._reported():
                return
            await asyncio.sleep(RETRY_S)

    async def _reported(self) -> bool:
        try:
            facts = await asyncio.to_thread(self._facts)
            if (cluster := await self._cluster()) is not None:
                facts = {**facts, "cluster": cluster}
            digest = digest_of(facts)
            await self._append("reports", "rep/facts", {"digest": digest, "facts": facts})
        except Exception:  # a strange machine is managed all the same
            log.exception("the facts could not be found out")
            return False
        self.digest = digest
        return True


def digest_of(facts: dict[str, Any]) -> str:
    """Of the canonical JSON. Raises TypeError for what is none."""
    canonical = orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)
    return "sha256:" + hashlib.sha256(canonical).hexdigest()
