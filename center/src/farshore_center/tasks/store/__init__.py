"""Tasks in the database: plain functions of a connection, few statements for many rows."""

from farshore_center.tasks.store.grants import (
    all_live_grants,
    ended_on,
    grants_on,
    live_grants,
    load_grants,
    nodes_with_ended,
    prune_grants,
    save_grants,
)
from farshore_center.tasks.store.instances import (
    add_instances,
    begun_anew,
    instances_of,
    load_instances,
    lock_instances,
    remove_instances,
    save_instance,
    unsettled,
)
from farshore_center.tasks.store.nodes import (
    all_nodes,
    bump,
    load_nodes,
    remove_node,
    save_nodes,
    unheard,
)
from farshore_center.tasks.store.rows import read_spec, write_spec
from farshore_center.tasks.store.steps import add_lines, history, prune_history
from farshore_center.tasks.store.tasks import (
    add_task,
    load_tasks,
    next_occurrences,
    page_of_tasks,
    remove_task,
    save_task,
    specs,
)

__all__ = [
    "add_instances",
    "add_lines",
    "add_task",
    "all_live_grants",
    "all_nodes",
    "begun_anew",
    "bump",
    "ended_on",
    "grants_on",
    "history",
    "instances_of",
    "live_grants",
    "load_grants",
    "load_instances",
    "load_nodes",
    "load_tasks",
    "lock_instances",
    "next_occurrences",
    "nodes_with_ended",
    "page_of_tasks",
    "prune_grants",
    "prune_history",
    "read_spec",
    "remove_instances",
    "remove_node",
    "remove_task",
    "save_grants",
    "save_instance",
    "save_nodes",
    "save_task",
    "specs",
    "unheard",
    "unsettled",
    "write_spec",
]
