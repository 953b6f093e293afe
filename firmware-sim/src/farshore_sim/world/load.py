"""What there is to do in a world beside its tasks: events that nodes tell, commands that people give."""

from collections.abc import Sequence

from farshore_center.api.problems import Problem
from farshore_center.commands.request import NewCommand, NodeChoice
from farshore_center.db.errors import DatabaseError

from farshore_sim.world.center import SimulatedCenter
from farshore_sim.world.faults import Fault
from farshore_sim.world.node import SimulatedNode
from farshore_sim.world.witness import Witness

OUTCOMES = ("succeeds", "succeeds", "fails", "raises")


class Load:
    def __init__(
        self, nodes: Sequence[SimulatedNode], center: SimulatedCenter, witness: Witness
    ) -> None:
        self._nodes = nodes
        self._center = center
        self._witness = witness
        self._given = 0
        self._told = 0
        self._newest: str | None = None

    def event(self, node: SimulatedNode) -> None:
        self._told += 1
        node.event(self._told)

    def command(self, fault: Fault) -> None:
        center, owner = self._center.now, self._center.owner
        if center is None or owner is None:
            return
        known = [entry.name for entry in center.nodes.registry.all()]
        names = known if fault.node < 0 else [self._nodes[fault.node].name]
        nodes = tuple(name for name in names if name in known)
        if not nodes:
            return
        self._given += 1
        self._witness.counts.commands += 1
        outcome = OUTCOMES[int(fault.b * 997) % len(OUTCOMES)]
        seconds = fault.a**3 * 40
        effect = ["effect", f"tag-{self._given}", f"{seconds:.3f}", outcome]
        request = NewCommand(
            choice=NodeChoice(nodes=nodes),
            nodes=nodes,
            verb="ping" if fault.b < 0.1 else "exec",
            args={} if fault.b < 0.1 else {"argv": effect},
            ttl_s=fault.for_s,
        )

        async def give() -> None:
            try:
                self._newest = (await center.commands.create(request)).id
            except DatabaseError:
                return  # who asked is told; nothing is promised

        owner.spawn(give(), "a person gives a command")

    def cancel(self) -> None:
        center, owner, newest = self._center.now, self._center.owner, self._newest
        if center is None or owner is None or newest is None:
            return

        async def cancel() -> None:
            try:
                await center.commands.cancel(newest)
            except (DatabaseError, Problem):
                return  # too late, or the center can't: who asked is told

        owner.spawn(cancel(), "a person cancels a command")
