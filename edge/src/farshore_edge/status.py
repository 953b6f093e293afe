"""What the agent says of itself: in the verb ``status``, and in its birth. It decides nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from farshore_protocol.link import Link
from farshore_protocol.messages import Capabilities, CenterMark

from farshore_edge import VERSION
from farshore_edge.agent_clock import AgentClock
from farshore_edge.commands.room import CommandRoom
from farshore_edge.config import ConfigService
from farshore_edge.database import Database, SetAside
from farshore_edge.errors import DatabaseError
from farshore_edge.outbox import Outbox
from farshore_edge.settings import Settings
from farshore_edge.tasks.service import TaskService


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Of these parts. ``aside``: the damaged database that was set aside, if one was; ``center``: what
    was obeyed last; ``facts_digest``: of the facts that were reported, empty before."""

    settings: Settings
    clock: AgentClock
    link: Link
    outbox: Outbox
    database: Database
    commands: CommandRoom
    config: ConfigService
    tasks: TaskService
    aside: Callable[[], SetAside | None]
    center: Callable[[], CenterMark | None]
    facts_digest: Callable[[], str]

    def identity(self) -> dict[str, object]:
        """The birth's fields that are not presence's own."""
        return {
            "agent_version": VERSION,
            "group": self.settings.group,
            "labels": dict(self.settings.labels),
            "capabilities": Capabilities(
                verbs=tuple(sorted(self.commands.handlers)),
                drivers=self.tasks.drivers(),
                verbs_digest=self.commands.digest,
            ),
            "facts_digest": self.facts_digest() or None,
            "center": self.center(),
            "revisions": self.config.revisions() | self.tasks.revisions(),
            "digests": self.config.digests(),
        }

    def word(self) -> dict[str, Any]:
        """The result of the verb ``status``."""
        return {
            "node": self.settings.node,
            "agent_version": VERSION,
            "boot": self.clock.boot,
            "up_s": round(self.clock.up_ms() / 1000, 3),
            "connected": self.link.connected,
            "clock_offset_ms": self.clock.offset_ms(),
            "streams": {
                stream: {"records": q.records, "bytes": q.bytes, "head": q.head}
                for stream, q in self.outbox.queues().items()
            },
            **self.commands.status(),
            "config": self.config.status(),
            "tasks": self.tasks.status(),
            "losses": self._losses(),
            "disk": self._disk(),
        }

    def _losses(self) -> int | None:
        try:
            return len(self.database.losses())
        except DatabaseError:
            return None

    def _disk(self) -> dict[str, Any]:
        """Whether the outbox can be written, and what was set aside."""
        outage, aside = self.outbox.outage(), self.aside()
        word: dict[str, Any] = {"writable": outage is None}
        if outage is not None:
            word |= {"since": outage.since.ts, "error": outage.error}
        if aside is not None:
            word["set_aside"] = {"file": aside.file, "reason": aside.reason}
        return word
