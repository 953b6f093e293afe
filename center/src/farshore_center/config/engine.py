"""What becomes of one node's configuration: a new desired one, a report, a birth. Pure.

Two rules carry it. A revision is given once: whenever the configuration, the group or the labels
change, the number grows. And a node is never argued with about what it runs: a report that does not
fit is answered by sending again, or, where the node's number is beyond ours, by a person.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson
from farshore_protocol.config.digest import digest as digest_of
from farshore_protocol.config.messages import ConfigReport, Override

from farshore_center.config.lifecycle import moved
from farshore_center.events.document import json_text

EMPTY_DIGEST = digest_of({})

_SETTLED = ("rolled_back", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """A row of ``node_config``; JSON columns as bytes."""

    node: str
    rev: int = 0
    digest: str | None = None
    group: str = ""
    labels: Mapping[str, str]
    state: str = "none"
    changed_ms: int
    problem: bytes | None = None
    reported_rev: int | None = None
    reported_digest: str | None = None
    reported_ms: int | None = None
    running_rev: int | None = None
    running: str | None = None
    effective: str | None = None
    error: bytes | None = None
    differences: bytes | None = None
    override: bytes | None = None
    epoch: str | None = None
    seq: int = 0

    @property
    def shown_state(self) -> str:
        return "failed" if self.problem is not None else self.state


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a node should run, and be told of itself."""

    digest: str
    group: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a report came to: the row, whether to send again, the kinds of events."""

    row: NodeConfig
    send: bool = False
    events: tuple[str, ...] = ()


def desire(row: NodeConfig, wanted: Wanted, now_ms: int) -> NodeConfig:
    """The row with this desired; the very same row when nothing changes."""
    if _is(row, wanted):
        return row if row.problem is None else replace(row, problem=None)
    new = replace(
        row,
        rev=row.rev + 1,
        digest=wanted.digest,
        group=wanted.group,
        labels=wanted.labels,
        changed_ms=now_ms,
        problem=None,
    )
    if row.state == "ahead" and row.reported_rev is not None:
        if wanted.digest != row.reported_digest:
            return new
        new = replace(new, rev=max(new.rev, row.reported_rev + 1))
    return replace(new, state=moved(row.state, "pending"))


def _is(row: NodeConfig, wanted: Wanted) -> bool:
    return (
        row.rev > 0
        and row.digest == wanted.digest
        and row.group == wanted.group
        and row.labels == wanted.labels
    )


def refuse(row: NodeConfig, problem: Mapping[str, Any], now_ms: int) -> NodeConfig:
    """The row of a node whose configuration is invalid: it gets nothing new, and says why."""
    written = orjson.dumps(problem, option=orjson.OPT_SORT_KEYS)
    return row if row.problem == written else replace(row, problem=written, changed_ms=now_ms)


def resolve(row: NodeConfig, now_ms: int) -> NodeConfig:
    """A person has decided that the center is right: the counter goes beyond the node's."""
    rev = max(row.rev, row.reported_rev or 0, row.running_rev or 0) + 1
    return replace(row, rev=rev, state=moved(row.state, "pending"), changed_ms=now_ms)


def send_at_birth(row: NodeConfig, running_rev: int | None, running: str | None) -> bool:
    """Whether a node that has just said its birth has to be sent its desired."""
    if row.rev == 0:
        return False
    if row.state == "ahead":
        # Made anew since, it would be ahead no longer.
        return (running_rev or 0) <= row.rev
    if running_rev == row.rev and running in (None, row.digest):
        return False
    settled = row.state in _SETTLED and row.reported_rev == row.rev
    return not (settled and running_rev == row.running_rev and running in (None, row.running))


def hear(row: NodeConfig, report: ConfigReport, now_ms: int) -> Heard:
    """A report that was accepted; one that was overtaken by a later one changes nothing."""
    if report.epoch == row.epoch and report.seq <= row.seq:
        return Heard(row=row)
    said = replace(
        row,
        reported_rev=report.rev,
        reported_digest=report.digest,
        reported_ms=now_ms,
        running_rev=report.running_rev,
        running=report.running,
        effective=report.effective,
        error=_json(None if report.error is None else asdict(report.error)),
        differences=_json([asdict(each) for each in report.differences] or None),
        override=_json(_override(report.override)),
        epoch=report.epoch,
        seq=report.seq,
    )
    after, send = _placed(said, report, now_ms)
    return Heard(row=after, send=send, events=_events(row, after, report))


def _placed(row: NodeConfig, report: ConfigReport, now_ms: int) -> tuple[NodeConfig, bool]:
    digest = row.digest or EMPTY_DIGEST
    if report.rev < row.rev:
        # Of an older one: what is under way is answered yet. One who was ahead is so no longer.
        left = row.state == "ahead"
        return (replace(row, state=moved(row.state, "pending")) if left else row), left
    if report.digest == digest:
        # A number beyond ours is taken over: what it stands for is what we want.
        same = replace(row, rev=report.rev, digest=digest, changed_ms=now_ms)
        if row.state == "none":
            same = replace(same, state="pending")
        return replace(same, state=moved(same.state, report.state)), False
    if report.rev > row.rev:
        return replace(row, state=moved(row.state, "ahead")), False
    if row.rev == 0:
        return row, False
    pending = row.state if row.state == "pending" else moved(row.state, "pending")
    return replace(row, state=pending), True


def _events(before: NodeConfig, after: NodeConfig, report: ConfigReport) -> tuple[str, ...]:
    kinds = []
    if before.epoch is None or _said(before) != _said(after) or before.state != after.state:
        kinds.append("config.ahead" if after.state == "ahead" else f"config.{report.state}")
    if before.override != after.override:
        kinds.append("config.override")
    return tuple(kinds)


def _said(row: NodeConfig) -> tuple[Any, ...]:
    return (row.reported_rev, row.reported_digest, row.running, row.error, row.differences)


def _override(override: Override | None) -> dict[str, Any] | None:
    return None if override is None else asdict(override)


def _json(value: Any) -> bytes | None:
    return None if value is None else json_text(value).encode()
