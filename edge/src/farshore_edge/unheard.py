"""What came to the node and was not taken, told where people listen: ``evt/refused``.

A command that can be read at all is answered on ``res/…``; this is for the rest: a topic that is none,
a retained command, one too many. The same is told once in a while only, so that a flood of garbage does
not become a flood of events.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

log = logging.getLogger(__name__)

AGAIN_AFTER_S = 60.0
KINDS_KEPT = 64
"""So many different refusals are told within ``AGAIN_AFTER_S``; of more, the log alone knows."""
TOPIC_CHARS = 200

Tell = Callable[[str, str, dict[str, Any]], Awaitable[int]]
"""Appends a record to a stream: its name, the topic below the node, the body."""


class Unheard:
    def __init__(self, tell: Tell, *, monotonic_s: Callable[[], float]) -> None:
        self._tell = tell
        self._monotonic_s = monotonic_s
        self._told_s: dict[tuple[str, str], float] = {}
        self._since: dict[tuple[str, str], int] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    def note(self, topic: str, reason: str, detail: str) -> None:
        """Never raises, never blocks. ``reason``: a word for programs; ``detail``: what was wrong, and
        what to do."""
        key = (topic[:TOPIC_CHARS], reason)
        log.warning("refused", extra={"topic": key[0], "reason": reason, "detail": detail})
        now_s = self._monotonic_s()
        self._told_s = {k: at for k, at in self._told_s.items() if now_s - at < AGAIN_AFTER_S}
        if key in self._told_s or len(self._told_s) >= KINDS_KEPT:
            if key in self._since or len(self._since) < KINDS_KEPT:
                self._since[key] = self._since.get(key, 0) + 1
            return
        self._told_s[key] = now_s
        more = self._since.pop(key, 0)
        data = {"topic": key[0], "reason": reason, "detail": detail[:1000], "more": more}
        task = asyncio.create_task(self._say(data), name="refused")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _say(self, data: dict[str, Any]) -> None:
        try:
            await self._tell("events", "evt/refused", {"data": data})
        except Exception:  # what nobody can be told stands in the log
            log.exception("a refusal could not be told")
