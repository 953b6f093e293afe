"""How nodes are told, and told to go back: by a command, or by a layer of configuration.

Both are written inside the transaction of the job's own step, so nothing is sent for a step that was
not kept, and nothing twice for one that was. What is sent is sent by the room that it belongs to.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from farshore_protocol.commands import VERBS
from sqlalchemy import Connection

from farshore_center.commands.request import MAX_S as MAX_TTL_S
from farshore_center.commands.request import CheckedCommand, NewCommand, NodeChoice, checked
from farshore_center.commands.views import CommandView
from farshore_center.config.rollout import Moving, Rollouts
from farshore_center.events.model import Draft
from farshore_center.jobs.overlays import overlay_name
from farshore_center.jobs.record import NodeRecord, Record
from farshore_center.jobs.rules import CommandPayload, Payload
from farshore_center.jobs.store import Told


class Commands(Protocol):
    """What is needed of the commands' room."""

    def add(
        self, conn: Connection, command: CheckedCommand, now_ms: int, /
    ) -> tuple[CommandView, Draft]: ...
    def added(self, view: CommandView, /) -> None: ...
    def withdraw(
        self, conn: Connection, keys: Sequence[tuple[str, str]], now_ms: int, /
    ) -> tuple[list[tuple[str, str]], list[Draft]]: ...


@dataclass(slots=True, kw_only=True)
class Telling:
    """One telling that is ready: ``write`` it in the step's transaction."""

    commands: Commands | None = None
    command: CheckedCommand | None = None
    move: Moving | None = None
    drafts: list[Draft] = field(default_factory=list)
    view: CommandView | None = None

    def write(self, conn: Connection, now_ms: int) -> Told:
        if self.command is not None and self.commands is not None:
            self.view, draft = self.commands.add(conn, self.command, now_ms)
            self.drafts = [draft]
            return Told(command_id=self.view.id)
        if self.move is not None:
            revs, self.drafts = self.move.write(conn, now_ms)
            return Told(config_revs=revs)
        return Told()


class Ways:
    def __init__(self, commands: Commands, rollouts: Rollouts) -> None:
        self._commands = commands
        self._rollouts = rollouts

    @asynccontextmanager
    async def telling(
        self, record: Record, nodes: Sequence[str], *, undo: bool
    ) -> AsyncIterator[Telling]:
        """The step is written in the block; what it sends is on its way after it."""
        payload = record.spec.payload
        if isinstance(payload, CommandPayload):
            command = command_for(record, payload, nodes, undo=undo)
            told = Telling(commands=self._commands, command=command)
            yield told
            if told.view is not None:
                self._commands.added(told.view)
            return
        overlay = overlay_name(record.id)
        async with self._rollouts.moving(overlay, nodes, join=not undo) as move:
            yield Telling(move=move)

    def withdraw(
        self, conn: Connection, payload: Payload, nodes: Sequence[NodeRecord], now_ms: int
    ) -> tuple[list[str], list[Draft]]:
        """The nodes under way that were told nothing yet; they will not be."""
        if not isinstance(payload, CommandPayload):
            return [], []
        keys = [
            (each.command_id, each.each.node)
            for each in nodes
            if each.each.state == "active" and each.command_id is not None
        ]
        unsent, drafts = self._commands.withdraw(conn, keys, now_ms)
        return [node for _, node in unsent], drafts


def command_for(
    record: Record, payload: CommandPayload, nodes: Sequence[str], *, undo: bool
) -> CheckedCommand:
    """It is valid as long as the node may answer. Problem for arguments that the verb does not take.

    A verb that the catalogue does not hold is the nodes' business: when the job was made, one of them
    had announced it. Who lacks it by now rejects it.
    """
    verb, args = payload.verb, payload.args
    if undo:
        if payload.undo is None:
            raise ValueError("the job has no way back")
        verb, args = payload.undo
    return checked(
        NewCommand(
            choice=NodeChoice(nodes=tuple(nodes)),
            nodes=tuple(nodes),
            verb=verb,
            args=args,
            ttl_s=min(record.job.rules.node_deadline_s, MAX_TTL_S),
            timeout_s=payload.timeout_s,
            by=f"job:{record.id}",
            allow_empty=True,
            foreign=verb not in VERBS,
        )
    )
