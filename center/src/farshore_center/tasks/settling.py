"""After the commit of a round: leases and documents follow, and who was outrun looks again."""

from collections.abc import Callable

import structlog

from farshore_center.tasks.agenda import Agenda
from farshore_center.tasks.decision import Decision
from farshore_center.tasks.delivery import Delivery
from farshore_center.tasks.leases import Leases
from farshore_center.tasks.records import Granted
from farshore_center.tasks.rounds import Decided, TaskCounts

log = structlog.get_logger(__name__)


class Settling:
    def __init__(
        self,
        leases: Leases,
        delivery: Delivery,
        agenda: Agenda,
        counts: TaskCounts,
        granted: Callable[[Granted], None],
    ) -> None:
        self._leases = leases
        self._delivery = delivery
        self._agenda = agenda
        self._counts = counts
        self._granted = granted

    def settle(self, decided: Decided) -> None:
        lost = {decision.view.instance.key for decision in decided.lost}
        if lost:
            self._counts.outrun += len(lost)
            self._agenda.look_now(sorted(lost))
        for decision in decided.won:
            self._won(decision)
        for decision in decided.decisions:
            if decision.view.instance.key not in lost:
                self._renewable(decision)
        nodes = {node for decision in decided.won for node in decision.nodes} | decided.asks
        if nodes:
            self._delivery.want(nodes)

    def _won(self, decision: Decision) -> None:
        for line in decision.lines:
            self._counts.count(line)
            if line.state == "replaced":
                log.info("an instance goes on elsewhere", task=line.task, instance=line.instance)
        new = decision.after is not None and decision.after.epoch != decision.view.instance.epoch
        for grant in decision.grants:
            if grant.final:
                self._leases.ended(grant.key)
            elif new and grant.epoch == getattr(decision.after, "epoch", 0):
                self._granted(grant)

    def _renewable(self, decision: Decision) -> None:
        """The current grant as it is in the database now is the one that is renewed."""
        after = decision.after
        if after is None:
            return
        grants = {**decision.view.grants, **{grant.epoch: grant for grant in decision.grants}}
        current = grants.get(after.epoch)
        if after.state != "active" or current is None or current.final or current.want != "run":
            return
        self._leases.open(current)
