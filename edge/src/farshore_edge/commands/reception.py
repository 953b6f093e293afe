"""A message on ``cmd/<verb>`` as a command with an id, whatever a person wrote there. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from farshore_protocol.codec import decode
from farshore_protocol.commands import Command, CommandError
from farshore_protocol.errors import RemoteProtocolError
from farshore_protocol.names import is_name

from farshore_edge.commands.by_hand import conflict_id, group_id, mark_of, mark_of_garbage
from farshore_edge.commands.policy import Accepted, Refused, rejected

AN_EXAMPLE = 'expected a JSON object: {} or {"id":"a-name","args":{},"ttl_s":60,"timeout_s":30}'
EMPTY = (
    "an empty payload asks nothing but what changes nothing, so that clearing a retained message does "
    "not do what it said; expected {} or more"
)
ID_CONFLICT = (
    "id: {id} was used here for {verb}, with another verb or other arguments; nothing was done: "
    "give another id, or none"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A command that has its id. ``mark``: see ``by_hand.py``; ``group``: to which it was said, None: to
    this node alone; ``refusal``: why it can't be one; ``empty``: it came without a payload."""

    verb: str
    command: Command
    mark: bytes
    group: str | None = None
    refusal: Refused | None = None
    empty: bool = False

    @property
    def id(self) -> str:
        return self.command.id or ""

    def in_conflict(self, used_for: str) -> "Received":
        """What is answered when its id was used for something else."""
        return replace(
            self,
            command=replace(self.command, id=conflict_id(self.id, self.mark)),
            refusal=rejected("id_conflict", ID_CONFLICT.format(id=self.id, verb=used_for)),
        )

    def judged(self, verdict: Accepted | Refused) -> Accepted | Refused:
        """The verdict, as far as the empty payload does not stand against it."""
        if isinstance(verdict, Accepted) and self.empty and verdict.risk != "read":
            return rejected("empty_payload", EMPTY)
        return verdict


def receive(
    verb: str,
    payload: bytes,
    group: str | None,
    *,
    now_ms: int,
    make_id: Callable[[], str],
    is_used: Callable[[str], bool],
) -> Received:
    """``now_ms``: by the center's clock where that is known; ``is_used``: whether this node has had a
    command of the id."""
    refusal = None
    try:
        command = decode(Command, payload or b"{}")
        mark = mark_of(verb, command)
    except RemoteProtocolError as exc:
        error = CommandError(code=exc.reason, message=f"{exc.detail}; {AN_EXAMPLE}")
        refusal = Refused(state="rejected", error=error)
        command, mark = Command(id=_id_in(payload)), mark_of_garbage(verb, payload)
    if command.id is None:
        name = None
        if group is not None:
            name = group_id(group, verb, payload, now_ms=now_ms, is_used=is_used)
        command = replace(command, id=name or make_id())
    return Received(
        verb=verb, command=command, mark=mark, group=group, refusal=refusal, empty=not payload
    )


def _id_in(payload: bytes) -> str | None:
    """The id of a command that is wrong otherwise, so that its sender finds the answer."""
    try:
        named = decode(dict[str, Any], payload).get("id")
    except RemoteProtocolError:
        return None
    return named if isinstance(named, str) and is_name(named) else None
