"""A new job: everything that must be true of it, and its rows. What is wrong is said by field."""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sqlalchemy import Connection

from farshore_center.api.problems import FieldError, Problem
from farshore_center.commands.announced import Announced, with_announced
from farshore_center.commands.request import NOT_VALID, NewCommand, NodeChoice, checked
from farshore_center.config.request import checked_patch, refused
from farshore_center.config.rollout import Rollouts
from farshore_center.events import Event, EventLog
from farshore_center.events.model import Draft
from farshore_center.jobs import store, windows
from farshore_center.jobs.bodies import JobBody
from farshore_center.jobs.feasible import Member, faults
from farshore_center.jobs.overlays import overlay_name
from farshore_center.jobs.record import Record, Step, write_body
from farshore_center.jobs.rules import CommandPayload, ConfigPayload, SelectorGate, Spec
from farshore_center.jobs.state import Job
from farshore_center.jobs.surroundings import Surroundings
from farshore_center.selectors import Selector, SelectorError

PAST_MS = 60_000
"""So late a start may be and still be meant as now: clocks differ, and requests take their time."""


class Selecting(Protocol):
    """What is needed of the groups' selection."""

    def read(self, text: str, /) -> Selector: ...
    async def chosen(self, text: str, field: str = "selector", /) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A job that can be made. ``members``: whom it means now."""

    body: JobBody
    spec: Spec
    members: Mapping[str, Member]
    faults: tuple[FieldError, ...] = ()


class Maker:
    """``announced``: which verbs nodes have; ``groups`` says whether there is such a group."""

    def __init__(
        self,
        events: EventLog,
        selection: Selecting,
        surroundings: Surroundings,
        rollouts: Rollouts,
        announced: Announced,
        *,
        now_ms: Callable[[], int],
        groups: Callable[[str], bool],
    ) -> None:
        self._events = events
        self._selection = selection
        self._surroundings = surroundings
        self._rollouts = rollouts
        self._announced = announced
        self._now_ms = now_ms
        self._groups = groups

    async def check(self, body: JobBody) -> Checked:
        """Problem for what is wrong with a field or nobody; ``faults`` for rules that can't be met."""
        spec, now_ms = body.spec(), self._now_ms()
        check_payload(spec, self._announced)
        found = [*self._unknown(spec), *_start(spec, now_ms)]
        members = await self._surroundings.members(
            await self._selection.chosen(spec.selector), spec.rules
        )
        if not members and not body.allow_empty and not spec.following:
            raise _bad(
                "selector",
                "the selector means no node now",
                "at least one node; allow_empty takes none as well",
            )
        if _begins_now(spec):
            # Who is in the job stays: where none of them has the verb, nothing could be done.
            check_payload(spec, self._announced, tuple(members))
        sizes = self._surroundings.group_sizes(spec.rules)
        found += faults(spec, members, sizes, now_ms)
        return Checked(body=body, spec=spec, members=members, faults=tuple(found))

    async def accepted(self, body: JobBody) -> Checked:
        """The same, and Problem for every fault, those of the configuration included."""
        ready = await self.check(body)
        if ready.faults:
            raise Problem(
                status=422,
                title="The rules can't be met",
                detail="; ".join(f"{each.field}: {each.detail}" for each in ready.faults),
                errors=ready.faults,
            )
        payload = ready.spec.payload
        if isinstance(payload, ConfigPayload):
            broken = await self._rollouts.faults(
                overlay_name("new"), payload.priority, payload.patch, ready.members
            )
            if broken:
                raise refused(broken)
        return ready

    def _unknown(self, spec: Spec) -> Iterable[FieldError]:
        for number, gate in enumerate(spec.rules.gates):
            if isinstance(gate, SelectorGate):
                try:
                    self._selection.read(gate.selector)
                except SelectorError as exc:
                    yield FieldError(
                        field=f"rules.gates.{number}.selector",
                        detail=str(exc),
                        expected=exc.expected,
                    )
        for number, budget in enumerate(spec.rules.budgets):
            if budget.group and not self._groups(budget.group):
                yield FieldError(
                    field=f"rules.budgets.{number}.group",
                    detail=f"there is no group {budget.group[:200]!a}",
                    expected="a group of the tree, or nothing for the whole fleet",
                )

    def record(
        self, ready: Checked, job_id: str, *, author: str, message: str, now_ms: int
    ) -> Record:
        start = ready.spec.start
        next_ms = None
        if start.cron is not None:
            next_ms = windows.next_ms(start.cron, windows.zone(start.timezone), now_ms)
        return Record(
            job=Job(
                id=job_id,
                rules=ready.spec.rules,
                following=ready.spec.following,
                start_ms=max(now_ms, start.at_ms or 0) if next_ms is None else next_ms,
            ),
            text=write_body(ready.body),
            created_ms=now_ms,
            author=author,
            message=message,
            next_ms=next_ms,
        )

    def insert(
        self,
        conn: Connection,
        record: Record,
        nodes: Sequence[str],
        *,
        key: str | None = None,
        digest: str | None = None,
    ) -> list[Event]:
        """The job with its nodes, its layer, its first row of history."""
        spec, now_ms = record.spec, record.created_ms
        repeats = spec.start.cron is not None
        nodes = [] if repeats else nodes
        store.add(conn, record, nodes, key=key, digest=digest)
        store.add_steps(
            conn, record.id, [Step(state="scheduled", reason=record.message or None)], now_ms,
            record.author,
        )  # fmt: skip
        if isinstance(spec.payload, ConfigPayload) and not repeats:
            self._rollouts.begin(
                conn,
                overlay_name(record.id),
                spec.payload.patch,
                author=record.author,
                message=record.message or spec.name,
                now_ms=now_ms,
            )
        data = {
            "name": spec.name,
            "selector": spec.selector,
            "total": len(nodes),
            "parent": record.parent,
            "by": record.author,
            "counts": {"waiting": len(nodes)} if nodes else {},
        }
        draft = Draft(kind="job.created", job=record.id, data=data, at_ms=now_ms)
        return self._events.append(conn, [draft])


Accept = Callable[[JobBody], Awaitable[Checked]]


def digest_of(body: JobBody) -> str:
    """Equal for requests that ask for the same."""
    return hashlib.sha256(write_body(body).encode()).hexdigest()


def check_payload(spec: Spec, announced: Announced, nodes: tuple[str, ...] = ()) -> None:
    """Problem for a verb, its arguments or a patch that can't be, and for a verb that none of the
    ``nodes`` has announced."""
    payload = spec.payload
    if isinstance(payload, CommandPayload):
        request = NewCommand(
            choice=NodeChoice(all=True),
            nodes=nodes,
            verb=payload.verb,
            args=payload.args,
            timeout_s=payload.timeout_s,
            allow_empty=True,
        )
        _check_command("command", request, announced)
        if payload.undo is not None:
            verb, args = payload.undo
            back = replace(request, verb=verb, args=args, timeout_s=None)
            _check_command("command.undo", back, announced)
        return
    if not checked_patch(payload.patch, "config.patch"):
        raise _bad("config.patch", "the patch is empty", "what is to be changed")
    if spec.rules.retries:
        raise _bad(
            "rules.retries",
            "a node does not try a configuration again that it could not keep",
            "0 for a configuration",
        )


def _check_command(field: str, request: NewCommand, announced: Announced) -> None:
    try:
        checked(with_announced(request, announced))
    except Problem as exc:
        exc.errors = [replace(each, field=f"{field}.{each.field}") for each in exc.errors]
        raise


def _begins_now(spec: Spec) -> bool:
    """With the nodes of now; by a later start they may have got what they lack."""
    return not spec.following and spec.start.at_ms is None and spec.start.cron is None


def _start(spec: Spec, now_ms: int) -> Iterable[FieldError]:
    at_ms = spec.start.at_ms
    if at_ms is not None and at_ms < now_ms - PAST_MS:
        yield FieldError(field="start.at", detail="it is in the past", expected="a time to come")


def _bad(field: str, detail: str, expected: str) -> Problem:
    return Problem(status=422, title=NOT_VALID, field=field, detail=detail, expected=expected)
