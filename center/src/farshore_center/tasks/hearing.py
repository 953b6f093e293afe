"""What the word of a node makes of a grant and of its instance. Pure.

A result is accepted when its epoch is the instance's current one and none was accepted before; the caller
stores it in the transaction in which it was compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import orjson
from farshore_protocol.tasks import FINAL, Held, TaskEvent

from farshore_center.tasks.records import Granted, Instance, Line, NodeTasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """``accepted``: a result was. ``run_s``: of a run that succeeded."""

    instance: Instance
    grant: Granted
    lines: tuple[Line, ...] = ()
    accepted: bool = False


class Moment(NamedTuple):
    """When a node said a word: on the center's clock, and by its own, ``up_ms`` since the start ``boot`` of
    its agent (PROTOCOL: envelope). ``""``: not known."""

    at_ms: int
    boot: str = ""
    up_ms: int = 0


def is_older(said: Moment, heard: Moment, boot: str | None) -> bool:
    """Whether a word is of before the last one that was heard; words overtake each other. A node's wall
    clock may be seconds off, and be believed for one word and not for the next, so it decides only between
    two boots of which neither is the current one, ``boot``."""
    if said.boot == heard.boot:
        return (said.up_ms, said.at_ms) < (heard.up_ms, heard.at_ms)
    if boot is not None and boot in (said.boot, heard.boot):
        return heard.boot == boot
    return said.at_ms < heard.at_ms


def hear(
    instance: Instance,
    grant: Granted,
    word: Held | TaskEvent,
    said: Moment,
    *,
    boot: str | None = None,
    batch: bool,
) -> Heard:
    """``boot``: the current one of its node. An older word than the last changes nothing, unless it tells of
    an end."""
    heard_last = Moment(grant.heard_ms, grant.heard_boot, grant.heard_up_ms)
    older = is_older(said, heard_last, boot)
    if grant.final or (older and word.state not in FINAL):
        return Heard(instance=instance, grant=grant)
    before, at_ms = grant, said.at_ms
    newest = heard_last if older else said
    grant = replace(
        grant,
        heard_ms=newest.at_ms,
        heard_boot=newest.boot,
        heard_up_ms=newest.up_ms,
        healthy=word.healthy,
        restarts=max(word.restarts, grant.restarts),
        exit_code=word.exit_code,
        reason=word.reason,
    )
    if isinstance(word, Held):
        grant = replace(grant, cpus=word.cpus, gpus=word.gpus or grant.gpus)
    elif word.run_s is not None:
        grant = replace(grant, run_s=word.run_s)
    if word.state == before.state:
        return Heard(instance=instance, grant=grant)
    grant = grant.moved(word.state, at_ms, word.reason)
    line = Line(
        task=grant.task,
        instance=grant.instance,
        epoch=grant.epoch,
        node=grant.node,
        state=word.state,
        reason=word.reason,
        by=grant.node,
    )
    heard = Heard(instance=instance, grant=grant, lines=(line,))
    return _ended(heard, word, at_ms, batch=batch) if word.state == "succeeded" else heard


def _ended(heard: Heard, word: Held | TaskEvent, at_ms: int, *, batch: bool) -> Heard:
    instance, grant = heard.instance, heard.grant
    if instance.epoch != grant.epoch or instance.state != "active":
        refused = replace(
            heard.lines[0],
            state="result_refused",
            reason=f"its epoch {grant.epoch} is not the current one, {instance.epoch}",
            by="center",
        )
        return replace(heard, lines=(*heard.lines, refused))
    result = word.result if isinstance(word, TaskEvent) and batch else None
    after = replace(
        instance,
        state="done",
        since_ms=at_ms,
        exit_code=word.exit_code,
        reason=None,
        result=None if result is None else orjson.dumps(result).decode(),
    )
    done = replace(heard.lines[0], state="done", by="center")
    return replace(heard, instance=after, lines=(*heard.lines, done), accepted=True)


def late_result(instance: Instance, grant: Granted, word: TaskEvent) -> Instance | None:
    """The result of the run that a report without it has already called done."""
    if (
        word.state != "succeeded"
        or word.result is None
        or instance.state != "done"
        or instance.epoch != grant.epoch
        or instance.result is not None
    ):
        return None
    return replace(instance, result=orjson.dumps(word.result).decode())


def missing(grant: Granted, now_ms: int) -> Granted:
    """Its node has the document that holds it, and has nothing of it."""
    if grant.want == "stop":
        return grant.moved("stopped", now_ms, grant.why)
    return grant.moved("withdrawn", now_ms, "its node has lost it")


def beyond(instance: Instance, highest: int) -> Instance:
    """A node was given a higher epoch than this center knows of: it goes on beyond that."""
    return instance if highest <= instance.last_epoch else replace(instance, last_epoch=highest)


def heard_document(node: NodeTasks, rev: int) -> NodeTasks:
    """The node says which document it has; one that is beyond ours is gone beyond, and sent again."""
    if rev > node.rev:
        return replace(node, rev=rev + 1, heard_rev=rev)
    return node if node.heard_rev == rev else replace(node, heard_rev=rev)


def highest_of(report: Mapping[str, int]) -> dict[tuple[str, int], int]:
    """``task/instance`` → epoch, as keys; what is none of these is left out."""
    found: dict[tuple[str, int], int] = {}
    for text, epoch in report.items():
        task, _, number = text.rpartition("/")
        if task and number.isascii() and number.isdigit() and len(number) <= 4:
            found[task, int(number)] = epoch
    return found
