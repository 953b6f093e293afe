"""Follow the draining of a node until nothing runs there: a picture on a terminal, on a pipe lines."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from farshore_center.cli.bars import Part, bar
from farshore_center.cli.cells import clean, counted, instant_ms, instant_text
from farshore_center.cli.client import CenterClient, segment
from farshore_center.cli.errors import DONE, FAILED, UnreachableError
from farshore_center.cli.follow import Listener, Look
from farshore_center.cli.live import LivePicture, can_live
from farshore_center.cli.screen import Line, columns, cut
from farshore_center.cli.session import Session
from farshore_center.cli.tables import Cell, state
from farshore_center.cli.watching import Watching

Drained = Mapping[str, Any]

ENDING_S = 30.0
"""After the deadline: what is left is then asked to end, and has its grace for that."""

_BAR, _OTHER_LINES = 40, 5


def verdict(found: Drained, now_ms: float) -> int | None:
    """The exit code once it is over; None: not yet."""
    if not found.get("instances"):
        return DONE
    if not found.get("drained"):
        return FAILED
    deadline_ms = instant_ms(found.get("deadline"))
    over = deadline_ms is not None and now_ms > deadline_ms + ENDING_S * 1000
    return FAILED if over else None


def end_text(found: Drained) -> str:
    """One sentence on how it ended."""
    name, left = clean(found["node"]), found.get("instances") or 0
    if not left:
        return f"{name} is drained: no task is on it"
    if not found.get("drained"):
        return f"{name} takes work again; somebody undrained it; still there: {counted(left, 'instance')}"
    return f"{name}: the deadline has passed; still there: {counted(left, 'instance')}"


def item_text(item: Mapping[str, Any]) -> str:
    reason = f": {clean(item['reason'])}" if item.get("reason") else ""
    return f"{clean(item['task'])}/{item['instance']} {clean(item['state'])}{reason}"


def happened(before: Drained | None, found: Drained, now: str) -> Iterator[str]:
    """What is new of what is there."""
    said = {} if before is None else _by_name(before)
    left = _by_name(found)
    for name, item in left.items():
        if said.get(name) != item:
            yield f"{now}  {item_text(item)}"
    for name in said:
        if name not in left:
            yield f"{now}  {clean(name)} has left"


def _by_name(found: Drained) -> dict[str, Any]:
    return {f"{each['task']}/{each['instance']}": each for each in found.get("items") or ()}


def picture(found: Drained, of: int, width: int, height: int) -> list[Line]:
    """A bar of all that was there, and what still is."""
    left = found.get("instances") or 0
    parts = [Part(max(0, of - left), "█", "green"), Part(left, "·", "")]
    until = f", by {clean(found['deadline'])} at the latest" if found.get("deadline") else ""
    lines: list[Line] = [
        [Cell(clean(found["node"]), "bold"), "  ", Cell("takes nothing new", "yellow"), until],
        [*bar(parts, min(_BAR, width)), f"  {of - left} of {counted(of, 'instance')} have left"],
        [],
    ]
    items = list(found.get("items") or ())
    room = max(1, height - _OTHER_LINES)
    rows: list[Line] = [
        [
            f"{clean(each['task'])}/{each['instance']}",
            state(clean(each["state"])),
            clean(each.get("reason") or ""),
        ]
        for each in items[:room]
    ]
    lines += columns(rows, right=[])
    if len(items) > room:
        lines.append([Cell(f"… {len(items) - room:,} more", "dim")])
    return [cut(line, width) for line in lines]


class Happenings(Watching[Drained]):
    """A line for each thing that happened: for a pipe."""

    def __init__(self, session: Session, client: CenterClient) -> None:
        super().__init__(session)
        self.client = client

    def show(self, found: Drained, /) -> None:
        for line in happened(self.last, found, instant_text(self.client.now_ms())):
            self.session.text(line)
        super().show(found)


class Picture(LivePicture[Drained]):
    """A picture that lives: for a terminal."""

    keep = False

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._of = 0

    def show(self, found: Drained, /) -> None:
        self._of = max(self._of, found.get("instances") or 0)
        super().show(found)

    def lines(self, found: Drained, width: int, height: int) -> list[Line]:
        foot = self.foot("the draining")
        return [*picture(found, self._of, width, height - len(foot)), *foot]


def of(session: Session, client: CenterClient) -> Watching[Drained]:
    """The view that suits whoever looks on."""
    if session.as_json:
        return Watching(session)
    if can_live(session):
        return Picture(session)
    return Happenings(session, client)


async def follow(session: Session, client: CenterClient, node: str) -> tuple[Drained, int]:
    """The last document and the exit code: 0 when nothing runs there, 1 when the deadline passed before, or
    somebody undrained it."""
    listener = Listener(client, {"node": node})
    task = asyncio.create_task(listener.run())
    view = of(session, client)
    path = f"/nodes/{segment(node)}/drain"
    look: Look = Look(client, path, view)
    found: Drained = await client.get(path)
    try:
        with view:
            view.show(found)
            while (code := verdict(found, client.now_ms())) is None:
                events, due = await listener.next()
                if due or events:
                    found = await look.at_record(found)
                    view.show(found)
        return found, code
    except (asyncio.CancelledError, UnreachableError):
        session.note(f"farshore: the draining goes on: farshore{session.at} node {clean(node)}")
        raise
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
