"""Tasks: work that is placed on nodes. The specification, its lifecycles, and what crosses the wire."""

from farshore_protocol.tasks.lifecycle import ALIVE, FINAL, INSTANCE, NODE_TASK
from farshore_protocol.tasks.messages import (
    DesiredTasks,
    Grant,
    Held,
    LeaseAnswer,
    LeaseRequest,
    TaskEvent,
    TasksReport,
)
from farshore_protocol.tasks.spec import Disconnect, Requests, TaskSpec

__all__ = [
    "ALIVE",
    "FINAL",
    "INSTANCE",
    "NODE_TASK",
    "DesiredTasks",
    "Disconnect",
    "Grant",
    "Held",
    "LeaseAnswer",
    "LeaseRequest",
    "Requests",
    "TaskEvent",
    "TaskSpec",
    "TasksReport",
]
