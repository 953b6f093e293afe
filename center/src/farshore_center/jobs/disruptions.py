"""Nodes that are disrupted or about to be, by whatever the center itself has decided. Changes nothing.

A node that is told to reboot is disrupted from the moment that this was decided, not from when it goes
offline: else the same budget would be spent twice in between.
"""

from farshore_protocol.commands.lifecycle import FINAL, TARGET
from sqlalchemy import ColumnElement, Connection, false, literal_column, or_, select

from farshore_center.commands.model import RESTARTS, commands, targets
from farshore_center.config.model import node_configs
from farshore_center.jobs import store
from farshore_center.tasks.model import node_tasks

_ILL = ("pending", "failed", "rolled_back", "drifted")
"""States of a configuration that is being applied, or that went wrong."""

_UNDER_WAY = tuple(sorted(set(TARGET.table) - FINAL))

LOOK_BACK_MS = 86_400_000
"""What a node has taken and not ended by then, after its command expired, is given up."""


def disrupted(conn: Connection, job_id: str, now_ms: int) -> set[str]:
    """Nodes under way in another job, that restart, that are drained, or with a configuration that is not
    in order."""
    busy = store.busy_elsewhere(conn, job_id)
    return busy | _restarting(conn, now_ms) | _ill(conn) | _drained(conn)


def _drained(conn: Connection) -> set[str]:
    """That a person has taken out of the pool of tasks."""
    return set(conn.execute(select(node_tasks.c.node).where(node_tasks.c.drained)).scalars())


def _restarting(conn: Connection, now_ms: int) -> set[str]:
    """That were given a command after which they start anew, by anybody, and have not ended it."""
    restarts: ColumnElement[bool] = literal_column(RESTARTS)
    found = (
        select(targets.c.node)
        .join(commands, commands.c.id == targets.c.command_id)
        .where(
            restarts,
            commands.c.expires_ms > now_ms - LOOK_BACK_MS,
            targets.c.state.in_(_UNDER_WAY),
            targets.c.held == false(),
        )
    )
    return set(conn.execute(found).scalars())


def _ill(conn: Connection) -> set[str]:
    found = select(node_configs.c.node).where(
        or_(node_configs.c.state.in_(_ILL), node_configs.c.problem.is_not(None))
    )
    return set(conn.execute(found).scalars())
