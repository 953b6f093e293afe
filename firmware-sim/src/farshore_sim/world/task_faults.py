"""Makes those faults of a plan come true that only worlds with tasks have, named as their kinds."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from farshore_center.api.problems import Problem
from farshore_center.db.errors import DatabaseError
from farshore_center.tasks.draining import Drains
from farshore_center.tasks.room import TaskRoom
from farshore_center.tasks.service import TaskService

from farshore_sim.world.bus import WorldBus
from farshore_sim.world.center import SimulatedCenter
from farshore_sim.world.faults import Fault
from farshore_sim.world.node import SimulatedNode
from farshore_sim.world.store import CenterStore
from farshore_sim.world.task_invariants import SiteCut, TaskInvariants
from farshore_sim.world.task_specs import name_of, spec_of
from farshore_sim.world.witness import Witness

NOTICED_S = 90.0
"""When a silent end is noticed at the latest: 1.5 times the keep-alive."""
PERSON = "a person"

After = Callable[[float, Callable[[], None]], None]
"""Calls later, unless the world was mended meanwhile."""
Ask = Callable[[TaskService], Awaitable[Any]]


class TaskFaults:
    def __init__(
        self,
        *,
        bus: WorldBus,
        nodes: Sequence[SimulatedNode],
        center: SimulatedCenter,
        store: CenterStore,
        invariants: TaskInvariants,
        witness: Witness,
        after: After,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._bus = bus
        self._nodes = nodes
        self._center = center
        self._store = store
        self._invariants = invariants
        self._witness = witness
        self._after = after

    def perform(self, fault: Fault) -> None:
        _FAULTS[fault.kind](self, fault)

    def heal(self) -> None:
        for node in self._nodes:
            node.thaw()
        for (name,) in self._store.rows("SELECT node FROM node_tasks WHERE drained"):
            self._undrain(name)

    def _node(self, fault: Fault) -> SimulatedNode:
        return self._nodes[fault.node]

    # People

    def _ask(self, ask: Ask) -> None:
        self._by_a_person(lambda room: ask(room.service))

    def _drain(self, ask: Callable[[Drains], Awaitable[Any]]) -> None:
        self._by_a_person(lambda room: ask(room.drains))

    def _by_a_person(self, ask: Callable[[TaskRoom], Awaitable[Any]]) -> None:
        center, owner = self._center.now, self._center.owner
        if center is None or owner is None:
            return
        room = center.tasks

        async def asked() -> None:
            try:
                await ask(room)
            except (DatabaseError, Problem):
                return  # who asked is told

        owner.spawn(asked(), "a person and tasks")

    def task(self, fault: Fault) -> None:
        self._witness.counts.tasks += 1
        self._ask(lambda service: service.put(name_of(fault), spec_of(fault), None, PERSON))

    def task_stop(self, fault: Fault) -> None:
        self._ask(lambda service: service.stop(name_of(fault), PERSON))
        if fault.b < 0.8:
            self._after(
                fault.for_s,
                lambda: self._ask(lambda service: service.start(name_of(fault), PERSON)),
            )

    def task_restart(self, fault: Fault) -> None:
        self._ask(lambda service: service.restart(name_of(fault), PERSON))

    def task_delete(self, fault: Fault) -> None:
        self._ask(lambda service: service.delete(name_of(fault), PERSON))

    def drain(self, fault: Fault) -> None:
        node, deadline_s = self._node(fault).name, None if fault.a < 0.5 else fault.a * 120
        self._drain(lambda drains: drains.drain(node, deadline_s, "maintenance", PERSON))
        self._after(fault.for_s, lambda: self._undrain(node))

    def _undrain(self, node: str) -> None:
        self._drain(lambda drains: drains.undrain(node, PERSON))

    # Machines

    def program_dies(self, fault: Fault) -> None:
        self._node(fault).workshop.kill_all()

    def reboot(self, fault: Fault) -> None:
        node = self._node(fault)
        node.crash(fault.a * NOTICED_S)
        node.power_off()
        self._after(fault.for_s, node.start)

    def frozen(self, fault: Fault) -> None:
        """Not so long that its connection is given up, or that is noticed some time."""
        node = self._node(fault)
        node.freeze()
        if fault.a < 0.5:
            self._bus.cut(node.name, broker_s=fault.a * 2 * NOTICED_S, client_s=fault.for_s)
        self._after(fault.for_s, node.thaw)

    # Lines

    def site_cut(self, fault: Fault) -> None:
        """All lines of the site at one instant; each end of each is noticed at a moment of its own."""
        site = self._node(fault).site
        members = [node for node in self._nodes if node.site == site]
        until_s = self._loop.time() + fault.for_s
        well = frozenset(node.name for node in members if self._well(node))
        for number, node in enumerate(members):
            wire = self._bus.wire(node.name)
            wire.blocked_until_s = max(wire.blocked_until_s, until_s)
            broker_s = (fault.a + number * 0.37) % 1.0 * NOTICED_S
            client_s = (fault.b + number * 0.37) % 1.0 * NOTICED_S
            self._bus.cut(node.name, broker_s=broker_s, client_s=client_s)
        self._invariants.site_was_cut(
            SiteCut(
                site=site,
                at_s=self._loop.time(),
                until_s=until_s,
                nodes=frozenset(node.name for node in members),
                well=well,
            )
        )

    def _well(self, node: SimulatedNode) -> bool:
        """Whether the center must have heard of it until now."""
        wire, since_s = self._bus.wire(node.name), self._bus.connected_since_s(node.name)
        now_s = self._loop.time()
        held_s = max(wire.up_held_s, wire.slow_until_s)
        lives = node.agent is not None and not node.frozen
        return lives and since_s is not None and now_s - since_s > NOTICED_S and now_s > held_s

    def one_way(self, fault: Fault) -> None:
        """What was sent, or is, arrives when that is over, unless the connection is given up before."""
        wire, until_s = self._bus.wire(self._node(fault).name), self._loop.time() + fault.for_s
        if fault.a < 0.5:
            wire.up_held_s = max(wire.up_held_s, until_s)
        else:
            wire.down_held_s = max(wire.down_held_s, until_s)
        if fault.b < 0.4:
            given_up_s = fault.b * fault.for_s
            name = self._node(fault).name
            self._after(given_up_s, lambda: self._bus.cut(name, broker_s=fault.a * 2))


_FAULTS: dict[str, Callable[[TaskFaults, Fault], None]] = {
    "task": TaskFaults.task,
    "task_stop": TaskFaults.task_stop,
    "task_restart": TaskFaults.task_restart,
    "task_delete": TaskFaults.task_delete,
    "drain": TaskFaults.drain,
    "program_dies": TaskFaults.program_dies,
    "reboot": TaskFaults.reboot,
    "frozen": TaskFaults.frozen,
    "site_cut": TaskFaults.site_cut,
    "one_way": TaskFaults.one_way,
}
