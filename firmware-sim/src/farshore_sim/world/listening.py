"""What agents and center log while a world runs: errors that the world's faults do not explain are
violations. It replaces the process's own logging for that time.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import structlog

from farshore_sim.world.faults import Plan

Said = Callable[[str], None]

EXPECTED_ERRORS: dict[str, tuple[str, ...]] = {
    "the outbox can't be written; what is new waits in memory": ("failing_disk",),
    "the outbox still can't be written": ("failing_disk",),
    "changes in memory are lost at stop": ("failing_disk",),
    "records in memory are lost at stop": ("failing_disk",),
    "the ledger can't be written": ("failing_disk",),
    "too much waits in memory; metrics are given up": ("failing_disk",),
    "the database is older than what a node has seen: it was restored; "
    "commands are held until a person resumes": ("center_restored",),
    "a node's disk has gone back in time": ("rewound",),
    "the center knows more than this disk: it went back in time; a new epoch is begun": (
        "rewound",
    ),
    "a new epoch can't be begun": ("failing_disk",),
    "a verb failed": ("command",),
    "nothing could be committed; the nodes keep it": ("center_disk",),
    "a message could not be kept": ("center_disk",),
    "changes of nodes can't be written yet": ("center_disk",),
    "commands can't be sent now": ("center_disk",),
    "configurations can't be computed now": ("center_disk",),
    "configurations can't be sent now": ("center_disk",),
    "telemetry history could not be tidied": ("center_disk",),
    "tasks can't be decided now": ("center_disk",),
    "tasks can't be sent now": ("center_disk",),
    "tasks can't be taken, the disk fails": ("failing_disk",),
}
"""What may be said at ERROR, and the faults that bring it."""


def expected(message: str, plan: Plan) -> bool:
    return plan.has(*EXPECTED_ERRORS.get(message, ()))


class _Handler(logging.Handler):
    def __init__(self, said: Said) -> None:
        super().__init__(logging.ERROR)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said(record.getMessage())


@contextlib.contextmanager
def listening(said: Said) -> Iterator[None]:
    """Every ERROR of agents and center goes to ``said``, everything else nowhere."""

    def take(
        _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        said(str(event.get("event")))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[take], wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR)
    )
    handler = _Handler(said)
    loggers = [logging.getLogger(name) for name in ("farshore_edge", "farshore_protocol")]
    states = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.ERROR)
        logger.propagate = False
    try:
        yield
    finally:
        structlog.configure(**before)
        for logger, (level, propagate) in zip(loggers, states, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
