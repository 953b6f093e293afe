"""What nodes say about commands, written in bulk inside the transaction that accepts it.

Nothing that a node says may make it fail: the same record would come again for ever. It does not
wake or send; the dispatcher finds the answers where it looks anyway.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson
import structlog
from farshore_protocol.commands import ByHand, CommandReport
from sqlalchemy import Connection

from farshore_center.commands import store
from farshore_center.commands.engine import Target, apply_report
from farshore_center.commands.schedule import Key
from farshore_center.commands.store import Given
from farshore_center.events.document import json_text
from farshore_center.events.model import Draft

log = structlog.get_logger(__name__)

FIELD = "field"
"""The giver of a command that the center did not make: a field engineer at an MQTT client."""

OTHER_COMMAND = "this node was given another command under the same id"
"""The beginning of the reason of a target whose command is not the one that its row names."""

EVENT_OUTPUT_CHARS = 32_768
"""Of output beyond that, an event only says how many chunks the record has."""


@dataclass(slots=True, kw_only=True)
class Recorded:
    """What a bulk of reports came to: events to append, and counts."""

    drafts: list[Draft] = field(default_factory=list)
    taken: int = 0
    strays: int = 0


def record_many(
    conn: Connection, pairs: Sequence[tuple[str, CommandReport]], now_ms: int
) -> Recorded:
    """Applies the reports, each with the node that sent it, in their order."""
    before = store.load_targets(conn, ((report.id, node) for node, report in pairs))
    asked = {
        report.id
        for node, report in pairs
        if (report.id, node) not in before or report.by_hand is not None
    }
    bulk = _Bulk(before, store.given(conn, asked), now_ms)
    for node, report in pairs:
        bulk.take(node, report)
    bulk.write(conn)
    return bulk.recorded


class _Bulk:
    def __init__(self, before: Mapping[Key, Target], given: dict[str, Given], now_ms: int) -> None:
        self._before = before
        self._now = dict(before)
        self._given = given
        self._now_ms = now_ms
        self._new_commands: list[dict[str, Any]] = []
        self._outputs: list[dict[str, Any]] = []
        self.recorded = Recorded()

    def take(self, node: str, report: CommandReport) -> None:
        key = (report.id, node)
        target = self._now.get(key)
        if target is None:
            target = self._by_hand(node, report)
        if target is None:
            return
        after = apply_report(target, report, self._now_ms)
        after = self._now[key] = self._beside_others(target, after, report)
        output = [] if target.erased else _chunks(report)
        self._outputs += ({"command_id": report.id, "node": node, **chunk} for chunk in output)
        taken = (after.epoch, after.seq) != (target.epoch, target.seq)
        self.recorded.taken += taken
        if taken or output:
            self._draft(after, report if taken else None, output)

    def _by_hand(self, node: str, report: CommandReport) -> Target | None:
        """The target of a command that a person gave by hand; None if it can't be one."""
        given = self._given.get(report.id)
        if given is not None and given.by != FIELD:
            # A node does not put itself among the targets of somebody else's command.
            self.recorded.strays += 1
            log.warning("report on a command of others", node=node, command=report.id)
            self._add("command.stray", report.id, node, {"state": report.state})
            return None
        if given is None:
            verb = _clean(report.verb)[:64]
            args = _args_text(report.by_hand)
            self._given[report.id] = Given(by=FIELD, verb=verb, args=args)
            self._new_commands.append(_row(report.id, verb, args, self._now_ms))
            group = report.by_hand.group if report.by_hand else None
            data = {"verb": verb, "targets": 1, "by": FIELD, "group": group}
            self._add("command.created", report.id, None, data)
        # Without a first step in its history: the center neither queued nor sent it.
        return Target(
            command_id=report.id, node=node, expires_ms=self._now_ms, updated_ms=self._now_ms
        )

    def _beside_others(self, before: Target, after: Target, report: CommandReport) -> Target:
        """A person may give several nodes different commands under one id: the record says so."""
        if before.reason is not None and before.reason.startswith(OTHER_COMMAND):
            return replace(after, reason=before.reason)
        given = self._given.get(report.id)
        if given is None or given.by != FIELD:
            return after
        if _clean(report.verb)[:64] != given.verb:
            verb = _clean(report.verb)[:64]
            return replace(after, reason=f"{OTHER_COMMAND}: verb {verb!r}")
        if report.by_hand is not None and orjson.loads(_args_text(report.by_hand)) != orjson.loads(
            given.args
        ):
            return replace(after, reason=f"{OTHER_COMMAND}: other arguments")
        return after

    def _draft(
        self, target: Target, taken: CommandReport | None, output: Sequence[Mapping[str, Any]]
    ) -> None:
        data: dict[str, Any] = {
            "state": target.state,
            "result": taken.result if taken else None,
            "error": asdict(taken.error) if taken and taken.error else None,
            "output": output,
        }
        if target.secret:
            # The log of events keeps what it is told; the command's own record forgets.
            data |= {"result": None, "secret": True}
        if target.secret or sum(len(c["text"]) for c in output) > EVENT_OUTPUT_CHARS:
            data |= {"output": [], "output_left_out": len(output)}
        self._add("command.target", target.command_id, target.node, data)

    def _add(self, kind: str, command: str, node: str | None, data: Mapping[str, Any]) -> None:
        self.recorded.drafts.append(
            Draft(kind=kind, node=node, command=command, data=data, at_ms=self._now_ms)
        )

    def write(self, conn: Connection) -> None:
        store.add_commands(conn, self._new_commands)
        changed = [t for key, t in self._now.items() if t is not self._before.get(key)]
        store.add_targets(conn, [t for t in changed if t.key not in self._before])
        store.save_targets(conn, [t for t in changed if t.key in self._before])
        store.add_outputs(conn, self._outputs)


def _args_text(told: ByHand | None) -> str:
    return json_text(told.args if told is not None and told.args is not None else {})


def _row(command_id: str, verb: str, args: str, now_ms: int) -> dict[str, Any]:
    return {
        "id": command_id,
        "verb": verb,
        "args": args,
        "created_ms": now_ms,
        "expires_ms": now_ms,
        "timeout_s": None,
        "idempotency_key": None,
        "request_digest": None,
        "by": FIELD,
    }


def _chunks(report: CommandReport) -> list[dict[str, Any]]:
    return [
        {"stream": chunk.stream, "offset": chunk.offset, "text": _clean(chunk.text)}
        for chunk in report.output
    ]


def _clean(text: str) -> str:
    # PostgreSQL has no NUL in text.
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def drafts_of(targets: Iterable[Target], now_ms: int) -> list[Draft]:
    """The events of targets that the center itself moved."""
    return [
        Draft(
            kind="command.target",
            node=target.node,
            command=target.command_id,
            at_ms=now_ms,
            data={
                "state": target.state,
                "reason": target.reason,
                "result": None,
                "error": None if target.error is None else orjson.loads(target.error),
                "output": [],
            },
        )
        for target in targets
    ]
