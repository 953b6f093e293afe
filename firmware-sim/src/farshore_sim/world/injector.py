"""Makes the faults of a plan come true. One method for each kind, named as the kind."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence

from farshore_center.db.errors import DatabaseError

from farshore_sim.world.bus import WorldBus
from farshore_sim.world.center import SimulatedCenter
from farshore_sim.world.clock import EPOCH_MS, WorldClock
from farshore_sim.world.disk import DiskCopy
from farshore_sim.world.faults import KINDS, Fault
from farshore_sim.world.load import Load
from farshore_sim.world.loop import Owner
from farshore_sim.world.node import SimulatedNode
from farshore_sim.world.restores import Restores
from farshore_sim.world.store import CenterStore
from farshore_sim.world.task_faults import TaskFaults
from farshore_sim.world.task_invariants import TaskInvariants
from farshore_sim.world.uplinks import CENTER_WIRE
from farshore_sim.world.witness import Witness

NOTICED_S = 90.0
"""When a silent end is noticed at the latest: 1.5 times the keep-alive."""
SAID = 0.3
"""How often a person says that a store is from a backup."""
RESUMED_S = 900.0
"""How long a person looks at a restored center before it goes on, at most."""
YEAR_MS = 365 * 86_400_000.0


class Injector:
    def __init__(
        self,
        *,
        bus: WorldBus,
        nodes: Sequence[SimulatedNode],
        center: SimulatedCenter,
        store: CenterStore,
        center_clock: WorldClock,
        owner: Owner,
        restores: Restores,
        tasks: TaskInvariants,
        witness: Witness,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._bus = bus
        self._nodes = nodes
        self._center = center
        self._store = store
        self._center_clock = center_clock
        self._owner = owner
        self._restores = restores
        self._witness = witness
        self._disk_copies: dict[Fault, DiskCopy] = {}
        self._store_copies: dict[Fault, sqlite3.Connection] = {}
        self._load = Load(nodes, center, witness)
        self.over = False
        self._task_invariants = tasks
        self._tasks = TaskFaults(
            bus=bus,
            nodes=nodes,
            center=center,
            store=store,
            invariants=tasks,
            witness=witness,
            after=self._after,
        )

    def perform(self, fault: Fault) -> None:
        self._witness.note("fault", fault)
        node = self._nodes[fault.node] if fault.node >= 0 else None
        if KINDS[fault.kind].tasks:
            self._tasks.perform(fault)
        elif node is not None and fault.kind in _OF_NODES:
            _OF_NODES[fault.kind](self, node, fault)
        else:
            _OF_ALL[fault.kind](self, fault)

    def heal(self) -> None:
        """Whatever is broken is mended, but for clocks that are wrong."""
        self.over = True
        for wire in self._bus.wires.values():
            wire.blocked_until_s = wire.slow_until_s = wire.doubles_until_s = 0.0
            wire.up_held_s = wire.down_held_s = 0.0
        for node in self._nodes:
            # Not zero: that a disk has failed once excuses what its node says long after.
            node.disk.failing_until_s = min(node.disk.failing_until_s, self._witness.time_s())
            node.disk.slow_until_s = 0.0
            node.clock.drift(1.0)
            node.start()
        self._store.failing_until_s = min(self._store.failing_until_s, self._witness.time_s())
        self._store.slow_until_s = 0.0
        if self._center.external:
            self._bus.go_up()
        self._center.start()
        self.resume()
        self._tasks.heal()

    def copy(self, fault: Fault) -> None:
        """Of what the fault goes back to later."""
        self._witness.note("copy", fault)
        if fault.node >= 0:
            self._disk_copies[fault] = self._nodes[fault.node].disk.copy()
        elif (copy := self._store.copy()) is not None:
            self._store_copies[fault] = copy

    def resume(self) -> None:
        """A person has looked at a center that was restored."""
        center, owner = self._center.now, self._center.owner
        if center is None or owner is None or not center.identity.restored:
            return

        async def resume() -> None:
            try:
                self._restores.resumed()
                await center.identity.resume()
            except DatabaseError:
                return  # who asked is told

        self._witness.note("resumed")
        owner.spawn(resume(), "a person resumes")

    def _until(self, fault: Fault) -> float:
        return self._loop.time() + fault.for_s

    def _after(self, wait_s: float, call: Callable[[], None]) -> None:
        def unless_over() -> None:
            if not self.over:
                call()

        self._loop.call_later(wait_s, unless_over)

    # Lines

    def cut(self, node: SimulatedNode, fault: Fault) -> None:
        self._bus.cut(node.name, broker_s=fault.a * 2, client_s=fault.b * 2)

    def partition(self, node: SimulatedNode, fault: Fault) -> None:
        wire = self._bus.wire(node.name)
        wire.blocked_until_s = max(wire.blocked_until_s, self._until(fault))
        self._bus.cut(node.name, broker_s=fault.a * NOTICED_S, client_s=fault.b * NOTICED_S)

    def slow_line(self, node: SimulatedNode, fault: Fault) -> None:
        wire = self._bus.wire(node.name)
        wire.slow_until_s, wire.slow_s = self._until(fault), fault.a * 5

    def doubles(self, node: SimulatedNode, fault: Fault) -> None:
        self._bus.wire(node.name).doubles_until_s = self._until(fault)
        if fault.b < 0.5:
            self._bus.wire(CENTER_WIRE).doubles_until_s = self._until(fault)

    def center_cut(self, fault: Fault) -> None:
        wire = self._bus.wire(CENTER_WIRE)
        if fault.for_s > 20:
            wire.blocked_until_s = max(wire.blocked_until_s, self._until(fault))
        self._bus.cut(CENTER_WIRE, broker_s=fault.a * NOTICED_S, client_s=fault.b * NOTICED_S)

    def broker(self, fault: Fault) -> None:
        self._bus.go_down(wipe=fault.a < 0.5)
        self._after(fault.for_s, self._bus.go_up)

    # Agents

    def crash(self, node: SimulatedNode, fault: Fault) -> None:
        node.crash(_broker_s(fault))
        self._after(fault.for_s, node.start)

    def restart(self, node: SimulatedNode, fault: Fault) -> None:
        async def restart() -> None:
            await node.stop()
            await asyncio.sleep(fault.for_s * fault.a)
            if not self.over:
                node.start()

        self._owner.spawn(restart(), "restart")

    def wipe(self, node: SimulatedNode, fault: Fault) -> None:
        node.crash(_broker_s(fault))
        node.disk.wipe()
        node.workshop.lose_files()
        self._task_invariants.forgot(node.name)
        self._after(fault.for_s, node.start)

    def rewound(self, node: SimulatedNode, fault: Fault) -> None:
        copy = self._disk_copies.get(fault)
        if copy is None:
            return

        async def rewind() -> None:
            if fault.b < 0.5:
                await node.stop()
            node.crash(_broker_s(fault))
            node.disk.set_back(copy)
            if fault.a < 0.5:
                node.power_off()
            self._task_invariants.forgot(node.name)
            self._witness.note("rewound", node.name)
            await asyncio.sleep(fault.a * 30)
            if not self.over:
                node.start()

        self._owner.spawn(rewind(), "rewind")

    def retire(self, node: SimulatedNode, fault: Fault) -> None:
        node.crash(_broker_s(fault))
        node.power_off()
        node.retired = True

    def clock_jump(self, node: SimulatedNode, fault: Fault) -> None:
        if fault.a < 0.25:
            node.clock.set_wall(fault.b * YEAR_MS)
        elif fault.a < 0.5:
            node.clock.set_wall(EPOCH_MS + 10 * YEAR_MS)
        else:
            node.clock.jump((fault.b - 0.5) * 7_200_000)

    def drift(self, node: SimulatedNode, fault: Fault) -> None:
        node.clock.drift(1.0 + (fault.a - 0.5) * 0.02)

    def slow_disk(self, node: SimulatedNode, fault: Fault) -> None:
        node.disk.slow_until_s, node.disk.slow_s = self._until(fault), fault.a * 5

    def failing_disk(self, node: SimulatedNode, fault: Fault) -> None:
        node.disk.failing_until_s = self._until(fault)

    # The center

    def center_crash(self, fault: Fault) -> None:
        self._center.crash(_broker_s(fault))
        self._after(fault.for_s * fault.b, self._center.start)

    def center_restored(self, fault: Fault) -> None:
        copy = self._store_copies.get(fault)
        if copy is None:
            return
        if self._center.stopping:
            self._after(1.0, lambda: self.center_restored(fault))
            return
        self._center.crash(_broker_s(fault))
        said = fault.b < SAID
        self._task_invariants.leave()
        self._restores.set_back(copy, said=said)
        self._task_invariants.set_back()
        self._center.restored = said
        self._after(fault.a * 30, self._center.start)
        self._after(fault.a * 30 + fault.b * RESUMED_S, self.resume)

    def center_restart(self, fault: Fault) -> None:
        async def restart() -> None:
            await self._center.stop()
            await asyncio.sleep(fault.for_s * fault.a)
            if not self.over:
                self._center.start()

        self._owner.spawn(restart(), "center restart")

    def center_disk(self, fault: Fault) -> None:
        self._store.failing_until_s = self._until(fault)

    def center_slow(self, fault: Fault) -> None:
        self._store.slow_until_s, self._store.slow_s = self._until(fault), fault.a * 3

    def center_clock(self, fault: Fault) -> None:
        self._center_clock.jump((fault.a - 0.5) * 20_000)


def _broker_s(fault: Fault) -> float:
    """A killed process is noticed at once, a machine without power much later."""
    return 0.0 if fault.a < 0.6 else fault.a * NOTICED_S


_OF_NODES: dict[str, Callable[[Injector, SimulatedNode, Fault], None]] = {
    "cut": Injector.cut,
    "partition": Injector.partition,
    "slow_line": Injector.slow_line,
    "doubles": Injector.doubles,
    "crash": Injector.crash,
    "restart": Injector.restart,
    "wipe": Injector.wipe,
    "rewound": Injector.rewound,
    "retire": Injector.retire,
    "clock_jump": Injector.clock_jump,
    "drift": Injector.drift,
    "slow_disk": Injector.slow_disk,
    "failing_disk": Injector.failing_disk,
    "event": lambda its, node, _fault: its._load.event(node),
}
_OF_ALL: dict[str, Callable[[Injector, Fault], None]] = {
    "command": lambda its, fault: its._load.command(fault),
    "cancel": lambda its, _fault: its._load.cancel(),
    "center_cut": Injector.center_cut,
    "broker": Injector.broker,
    "center_crash": Injector.center_crash,
    "center_restored": Injector.center_restored,
    "center_restart": Injector.center_restart,
    "center_disk": Injector.center_disk,
    "center_slow": Injector.center_slow,
    "center_clock": Injector.center_clock,
}
