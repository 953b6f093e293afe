"""A job as one step begins with it: its row, its nodes, and what they have said."""

from dataclasses import dataclass

from sqlalchemy import Connection

from farshore_center.jobs import store
from farshore_center.jobs.hearing import LISTENED, Said, said
from farshore_center.jobs.lifecycle import OVER
from farshore_center.jobs.limits import UNDER_WAY
from farshore_center.jobs.record import NodeRecord, Record
from farshore_center.jobs.state import Action, Move, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    record: Record
    nodes: list[NodeRecord]
    words: dict[str, Said]

    @property
    def at_rest(self) -> bool:
        """It is over, and none of its nodes is under way."""
        over = self.record.job.state in OVER
        return over and not any(
            each.each.state in UNDER_WAY or each.each.state == "retrying" for each in self.nodes
        )


def load(conn: Connection, job_id: str) -> Loaded | None:
    record = store.load(conn, job_id)
    if record is None:
        return None
    if record.spec.start.cron is not None:
        return Loaded(record=record, nodes=[], words={})
    nodes = store.load_nodes(conn, job_id)
    return Loaded(record=record, nodes=nodes, words=said(conn, job_id, nodes, record.spec.payload))


def listens(snapshot: Snapshot) -> bool:
    """Whether news of the fleet may change what the job does. Pure."""
    job = snapshot.job
    if any(each.state in LISTENED for each in snapshot.nodes) or job.following:
        return True
    return job.state == "running" and bool(job.rules.budgets or job.rules.gates)


def explained(action: Action, loaded: Loaded) -> Action:
    """With the node's own reason, where the engine has none."""
    if not isinstance(action, Move):
        return action
    if action.state == "left" and not loaded.record.job.following:
        return action._replace(reason="the node is not known any more")
    if action.reason is not None or action.node not in loaded.words:
        return action
    return action._replace(reason=loaded.words[action.node].reason)
