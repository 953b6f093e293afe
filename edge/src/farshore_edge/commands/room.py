"""The room of commands, put together: verbs, policy, ledger, service, live logs. `app.py` makes it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farshore_protocol.clock import Clock
from farshore_protocol.commands import VERBS
from farshore_protocol.commands.catalogue.network import LinkTestResult
from farshore_protocol.commands.schema import catalogue_digest
from farshore_protocol.ids import Ids
from farshore_protocol.link import Link

from farshore_edge.commands.ledger import Ledger
from farshore_edge.commands.policy import Policy
from farshore_edge.commands.policy_file import load_rules
from farshore_edge.commands.service import CommandService
from farshore_edge.commands.tails import Tails
from farshore_edge.commands.verbs import Handlers
from farshore_edge.commands.verbs.added import AddedVerbs, Finder, VerbTools, added_verbs
from farshore_edge.commands.verbs.guard import Guard
from farshore_edge.commands.verbs.link_test import LinkTest
from farshore_edge.commands.verbs.logs import TaskOutput, no_tasks
from farshore_edge.commands.verbs.own import Agency, folders_of, own_handlers, write_roots
from farshore_edge.commands.verbs.power import Now, Power
from farshore_edge.config import ConfigService
from farshore_edge.database import Database, SetAside
from farshore_edge.diagnosis import Diagnosis
from farshore_edge.outbox import Outbox
from farshore_edge.settings import Settings
from farshore_edge.unheard import Unheard

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandParts:
    """What the room has of its agent. ``center_ms``: the center's time at an uptime in ms, where it is
    known; the other functions are as the agent has them."""

    settings: Settings
    database: Database
    outbox: Outbox
    link: Link
    clock: Clock
    ids: Ids
    boot: str
    guard: Guard
    diagnosis: Diagnosis
    unheard: Unheard
    up_ms: Callable[[], int]
    center_ms: Callable[[int], float | None]
    center_now_ms: Callable[[], int]
    facts: Callable[[], dict[str, Any]]
    status: Callable[[], dict[str, Any]]
    config: Callable[[], ConfigService]
    handlers: Handlers
    find_verbs: Finder
    aside: SetAside | None
    power: Power | None
    task_output: TaskOutput = no_tasks
    link_measured: Callable[[LinkTestResult], None] = lambda _result: None


class CommandRoom:
    """``handlers``: by the names of their verbs; ``catalogue``: what each of those is."""

    def __init__(self, parts: CommandParts) -> None:
        self._parts = parts
        settings, clock = parts.settings, parts.clock
        self.link_test = LinkTest(
            parts.link,
            node=settings.node,
            over=settings.center,
            monotonic_s=clock.monotonic_s,
            draw=parts.ids.boot,
            measured=parts.link_measured,
        )
        self.tails = Tails(
            node=settings.node,
            uplink=parts.link,
            now_ms=clock.now_ms,
            monotonic_s=clock.monotonic_s,
            lines_per_s=settings.log_lines_per_s,
            bytes_per_s=settings.log_bytes_per_s,
        )
        self._wire_verbs()
        self._rules = load_rules(settings.policy, write_roots(settings))
        if self._rules is not None and self._rules.fault is not None:
            log.critical(
                "the policy can't be used; only ping, status and verbs are taken",
                extra={"file": self._rules.origin, "error": self._rules.fault},
            )
        self.ledger = Ledger(
            parts.database,
            parts.outbox,
            aside=parts.aside,
            began_ms=lambda: parts.center_ms(0),
        )
        self.service = CommandService(
            self.ledger,
            self.handlers,
            policy=(Policy.development(self._rules) if settings.dev else Policy(rules=self._rules)),
            ids=parts.ids,
            now_ms=clock.now_ms,
            monotonic_s=clock.monotonic_s,
            center_ms=lambda: parts.center_ms(parts.up_ms()),
            at_once=settings.commands_at_once,
            output_max_bytes=settings.output_max_bytes,
            catalogue=self.catalogue,
            dropped=lambda verb, why: parts.unheard.note(f"cmd/{verb}", "too_many", why),
        )

    def _wire_verbs(self) -> None:
        parts = self._parts
        added = self._added_verbs()
        self.catalogue = {**{n: each.verb for n, each in added.verbs.items()}, **VERBS}
        agency = Agency(
            settings=parts.settings,
            now_ms=parts.clock.now_ms,
            center_now_ms=parts.center_now_ms,
            facts=parts.facts,
            status=parts.status,
            verbs=lambda: sorted(self.handlers),
            config=parts.config,
            cancel=lambda command_id, verb: self.service.cancel(command_id, verb),
            link_test=self.link_test,
            diagnosis=parts.diagnosis,
            power=parts.power,
            now=Now(
                boot=parts.boot, now_ms=parts.clock.now_ms, monotonic_s=parts.clock.monotonic_s
            ),
            guard=parts.guard,
            catalogue=self.catalogue,
            refused_verbs=added.refused,
            tails=self.tails,
            task_output=parts.task_output,
        )
        self.handlers = {
            **{name: each.handler for name, each in added.verbs.items()},
            **own_handlers(agency),
            **parts.handlers,
        }
        self.digest = catalogue_digest(self.handlers, self.catalogue)

    def _added_verbs(self) -> AddedVerbs:
        settings = self._parts.settings
        readable, writable = folders_of(settings)
        tools = VerbTools(
            node=settings.node,
            data=Path(settings.data).absolute() / "verbs",
            readable=readable,
            writable=writable,
        )
        return added_verbs(tools, taken=VERBS, find=self._parts.find_verbs)

    async def recover(self) -> None:
        """After a start: what a dead agent had left is ended, then its commands are resolved."""
        await self.service.recover(await self._parts.guard.end_orphans())

    def status(self) -> dict[str, Any]:
        """What the verb ``status`` tells of this room."""
        return {
            "commands": self.service.running(),
            "commands_waiting": self.service.waiting(),
            "live_logs": self.tails.names(),
            "policy": self._policy_word(),
        }

    def _policy_word(self) -> dict[str, Any] | None:
        rules = self._rules
        if rules is None:
            return None
        word: dict[str, Any] = {"file": rules.origin, "rules": len(rules.rules)}
        return word if rules.fault is None else {**word, "fault": rules.fault}

    async def stop(self) -> None:
        await self.service.stop()
        await self.tails.stop()
