"""Lines of history as events ``task.<state>``."""

from collections.abc import Iterable

from farshore_center.events.model import Draft
from farshore_center.tasks.records import Line


def drafts_of(lines: Iterable[Line], now_ms: int) -> list[Draft]:
    return [
        Draft(
            kind=f"task.{line.state}",
            node=line.node,
            data={
                name: value
                for name, value in (
                    ("task", line.task),
                    ("instance", line.instance),
                    ("epoch", line.epoch),
                    ("reason", line.reason),
                    ("by", line.by),
                )
                if value is not None
            },
            at_ms=now_ms,
        )
        for line in lines
    ]
