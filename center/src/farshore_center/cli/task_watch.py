"""Follow a task until it does what was asked: a picture on a terminal, a line for each thing on a pipe.

Events say that something happened, the task's record says what: it is looked at after them, and now and
then all the same.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from farshore_center.cli.bars import Part, bar
from farshore_center.cli.cells import NOTHING, clean, counted, instant_text, span
from farshore_center.cli.client import CenterClient, Document, segment
from farshore_center.cli.errors import DONE, FAILED, UnreachableError
from farshore_center.cli.follow import Listener, Look
from farshore_center.cli.live import LivePicture, can_live
from farshore_center.cli.progress import summary_text
from farshore_center.cli.screen import Line, columns, cut
from farshore_center.cli.session import Session
from farshore_center.cli.tables import STATE_STYLES, Cell, state
from farshore_center.cli.task_view import Instance, Task, why
from farshore_center.cli.watching import Watching

RESTING = frozenset({"stopped", "done", "failed"})
"""States of an instance between two occurrences."""

_BAR, _OTHER_LINES = 40, 6
_SIGNS: Mapping[str, str] = {
    "running": "█", "succeeded": "█", "failed": "✗", "rejected": "✗", "lost": "✗", "stopped": "░",
}  # fmt: skip


def verdict(task: Task, *, until: str) -> int | None:
    """The exit code once ``until`` (``runs`` or ``stopped``) is reached or can't be; None: not yet.

    A service runs when every instance does, a batch when it is done; one with a cron rule that waits for
    its time has what it was asked for. What still is as it was before the change does not count, and what
    a person has stopped will not run.
    """
    now = task["state"]
    if until == "stopped":
        return DONE if now in ("stopped", "done", "failed") else None
    if task["wanted"] != "run":
        return FAILED
    if task.get("behind"):
        return None
    if task["spec"].get("cron") and task.get("next") and not task["summary"].keys() - RESTING:
        return DONE
    if now == "failed":
        return FAILED
    done = "done" if task["spec"]["kind"] == "batch" else "running"
    return DONE if now == done else None


def happened(before: Task | None, task: Task, now: str) -> Iterator[str]:
    """What is new of a task's instances, and of the task as a whole."""
    known = {each["instance"]: each for each in (before or {}).get("instances") or ()}
    for each in task.get("instances") or ():
        if _said(known.get(each["instance"])) != _said(each):
            yield f"{clean(each.get('since') or now)}  {instance_text(each)}"
    if before is None or before["state"] != task["state"]:
        yield f"{now}  {clean(task['name'])}: {clean(task['state'])}"


def _said(each: Instance | None) -> tuple[Any, ...]:
    return () if each is None else (each["state"], each.get("node"), each["attempt"], why(each))


def instance_text(each: Instance) -> str:
    on = f" on {clean(each['node'])}" if each.get("node") else ""
    reason = why(each)
    told = "" if reason == NOTHING else f": {reason}"
    return f"instance {each['instance']}: {clean(each['state'])}{on}{told}"


def picture(task: Task, width: int, height: int) -> list[Line]:
    """A bar of all instances, and below it those that are not yet where they should be."""
    summary = task["summary"]
    parts = [
        Part(number, _SIGNS.get(name, "·"), STATE_STYLES.get(name, ""))
        for name, number in sorted(summary.items(), key=lambda each: _order(each[0]))
    ]
    lines: list[Line] = [
        [Cell(clean(task["name"]), "bold"), "  ", state(clean(task["state"]))],
        [*bar(parts, min(_BAR, width)), "  ", summary_text(summary)],
        [],
    ]
    instances = sorted(
        task.get("instances") or (), key=lambda each: (_order(each["state"]) == 0, each["instance"])
    )
    room = max(1, height - _OTHER_LINES)
    rows: list[Line] = [
        [str(each["instance"]), state(clean(each["state"])), clean(each.get("node") or NOTHING), why(each)]
        for each in instances[:room]
    ]  # fmt: skip
    lines += columns(rows, right=[0])
    if len(instances) > room:
        lines.append([Cell(f"… {counted(len(instances) - room, 'instance')} more", "dim")])
    return [cut(line, width) for line in lines]


def _order(name: str) -> int:
    sign = _SIGNS.get(name, "·")
    return ("█", "✗", "░", "·").index(sign)


class Watch(Watching[Task]):
    """Silent until the end: for ``--json``."""

    def __init__(self, session: Session, client: CenterClient) -> None:
        super().__init__(session)
        self.client = client


class Happenings(Watch):
    """A line for each thing that happened: for a pipe."""

    def show(self, task: Task, /) -> None:
        for line in happened(self.last, task, instant_text(self.client.now_ms())):
            self.session.text(line)
        super().show(task)


class Picture(LivePicture[Task], Watch):
    """A picture that lives: for a terminal."""

    keep = True

    def lines(self, found: Task, width: int, height: int) -> list[Line]:
        foot = self.foot("the task")
        return [*picture(found, width, height - len(foot)), *foot]


def of(session: Session, client: CenterClient) -> Watch:
    """The view that suits whoever looks on."""
    if session.as_json:
        return Watch(session, client)
    if can_live(session):
        return Picture(session, client)
    return Happenings(session, client)


def mentions(events: Sequence[Document], name: str) -> bool:
    """Whether one of the events is of this task."""
    return any((event.get("data") or {}).get("task") == name for event in events)


async def follow(
    session: Session,
    client: CenterClient,
    name: str,
    *,
    until: str = "runs",
    timeout_s: float | None = None,
) -> tuple[Task, int]:
    """The task's record and the exit code; 1 where the time was up before."""
    listener = Listener(client, {"kind": "task.*"})
    task = asyncio.create_task(listener.run())
    view = of(session, client)
    look = Look(client, f"/tasks/{segment(name)}", view)
    found: Task = await client.get(f"/tasks/{segment(name)}")
    try:
        with view:
            view.show(found)
            async with asyncio.timeout(timeout_s):
                while (code := verdict(found, until=until)) is None:
                    events, due = await listener.next()
                    if due or mentions(events, name):
                        found = await look.at_record(found)
                        view.show(found)
        return found, code
    except TimeoutError:
        session.note(
            f"farshore: {clean(name)} is {clean(found['state'])} after {span(timeout_s or 0)}"
        )
        return found, FAILED
    except (asyncio.CancelledError, UnreachableError):
        session.note(f"farshore: the task goes on: farshore{session.at} task get {clean(name)}")
        raise
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
