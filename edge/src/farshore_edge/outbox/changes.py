"""Changes as wholes and in parts: several as one, the records of one as runs. Pure."""

from collections.abc import Sequence

from farshore_edge.database import Change, Record


def joined(*changes: Change) -> Change:
    """Several changes as one: in each kind the order stays, and a record is settled after it came."""
    return Change(
        records=[record for change in changes for record in change.records],
        settled=[settled for change in changes for settled in change.settled],
        losses=[loss for change in changes for loss in change.losses],
        commands=[row for change in changes for row in change.commands],
        marks=[mark for change in changes for mark in change.marks],
        tasks=[tasks for change in changes for tasks in change.tasks],
        aside=next((change.aside for change in reversed(changes) if change.aside), None),
        center=next((change.center for change in reversed(changes) if change.center), None),
        unanswered=next(
            (c.unanswered for c in reversed(changes) if c.unanswered is not None), None
        ),
    )


def runs(records: Sequence[Record]) -> list[tuple[str, int, int]]:
    """The records as (stream, first, last), in their order."""
    found: list[tuple[str, int, int]] = []
    for record in records:
        if found and found[-1][0] == record.stream and found[-1][2] == record.seq - 1:
            found[-1] = record.stream, found[-1][1], record.seq
        else:
            found.append((record.stream, record.seq, record.seq))
    return found
