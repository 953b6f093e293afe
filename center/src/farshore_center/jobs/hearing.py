"""What the nodes of a job have said: read where the other rooms keep it. Changes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import orjson
from farshore_protocol.commands.lifecycle import FINAL
from sqlalchemy import Connection, select

from farshore_center.commands.model import targets
from farshore_center.config import node_store
from farshore_center.config.engine import NodeConfig
from farshore_center.jobs.model import job_nodes
from farshore_center.jobs.record import NodeRecord, with_heard
from farshore_center.jobs.rules import ConfigPayload, Payload

LISTENED = ("active", "undoing", "silent")
MAX_REASON = 255


class Said(NamedTuple):
    """The end of a node's last attempt, as states of a node in a job; and why."""

    state: str
    reason: str | None = None


def said(
    conn: Connection, job_id: str, nodes: Sequence[NodeRecord], payload: Payload
) -> dict[str, Said]:
    """By node, of those from whom something is awaited."""
    if isinstance(payload, ConfigPayload):
        asked = [each for each in nodes if each.each.state in LISTENED]
        rows = node_store.load(conn, [each.each.node for each in asked])
        found = ((each.each.node, of_config(each, rows.get(each.each.node))) for each in asked)
        return {node: word for node, word in found if word is not None}
    return _of_commands(conn, job_id)


def _of_commands(conn: Connection, job_id: str) -> dict[str, Said]:
    question = (
        select(targets.c.node, targets.c.state, targets.c.reason, targets.c.error, targets.c.result)
        .join(
            job_nodes,
            (targets.c.command_id == job_nodes.c.command_id) & (targets.c.node == job_nodes.c.node),
        )
        .where(
            job_nodes.c.job_id == job_id,
            job_nodes.c.state.in_(LISTENED),
            targets.c.state.in_(FINAL),
        )
    )
    return {
        row.node: _of_target(row.state, row.reason, row.error, row.result)
        for row in conn.execute(question)
    }


def _of_target(state: str, reason: str | None, error: str | None, result: str | None) -> Said:
    if state == "expired":
        return Said("silent", reason or "the node did not get it in time")
    if state == "succeeded":
        return Said(state)
    return Said(state, (reason or _message(error) or _exit_code(result) or None))


def _message(error: str | None) -> str | None:
    found = _object(error)
    message = found.get("message") or found.get("code")
    return None if message is None else str(message)[:MAX_REASON]


def _exit_code(result: str | None) -> str | None:
    code = _object(result).get("exit_code")
    return None if code is None else f"exit code {code}"[:MAX_REASON]


def _object(text: str | bytes | None) -> Mapping[str, object]:
    if text is None:
        return {}
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def of_config(record: NodeRecord, row: NodeConfig | None) -> Said | None:
    """None while there is nothing to conclude. Pure."""
    rev = record.config_rev
    if rev is None:
        return None  # the node is not known any more
    if row is None or rev == 0:
        return Said("succeeded", "nothing was to be changed")
    if row.problem is not None:
        return Said("failed", _message_of(row.problem) or "its configuration is not valid")
    if row.rev < rev or (row.reported_rev or 0) < rev:
        return None
    if row.state == "applied":
        return Said("succeeded")
    if row.state in ("failed", "rolled_back"):
        return Said("failed", _message_of(row.error) or row.state)
    return None


def _message_of(error: bytes | None) -> str | None:
    message = _object(error).get("message")
    return None if message is None else str(message)[:MAX_REASON]


def heard(nodes: Iterable[NodeRecord], words: Mapping[str, Said]) -> list[NodeRecord]:
    """The nodes with what they said; of those that nobody listens to, what is stored."""
    return [
        with_heard(each, words[each.each.node].state)
        if each.each.node in words
        else (with_heard(each, None) if each.each.state in LISTENED else each)
        for each in nodes
    ]
