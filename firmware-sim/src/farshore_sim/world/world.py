"""Builds a world from its plan, lets it run to its end, and says what was seen."""

import asyncio
import gc
import random
from dataclasses import dataclass, replace
from typing import Any

from farshore_edge.settings import Settings

from farshore_sim.world.bus import WorldBus
from farshore_sim.world.center import SimulatedCenter
from farshore_sim.world.clock import WorldClock
from farshore_sim.world.disk import Disk
from farshore_sim.world.faults import Plan
from farshore_sim.world.injector import Injector
from farshore_sim.world.invariants import Invariants
from farshore_sim.world.listening import expected, listening
from farshore_sim.world.loop import Owner, StandstillError, VirtualLoop
from farshore_sim.world.losses import justified
from farshore_sim.world.node import SimulatedNode
from farshore_sim.world.restores import Restores
from farshore_sim.world.store import CenterStore
from farshore_sim.world.task_invariants import TaskInvariants
from farshore_sim.world.uplinks import CENTER_WIRE
from farshore_sim.world.witness import Counts, Violation, Witness
from farshore_sim.world.workshop import WorldWorkshop

SETTLE_S = 3600.0
"""How long a healed world may take until nothing is left to do."""
GONE_S = 120.0
"""How long the center may show nodes that have stopped: until their silence speaks."""
LOOK_EVERY_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    plan: Plan
    digest: str
    violations: tuple[Violation, ...]
    counts: Counts
    virtual_s: float
    trace: tuple[str, ...] = ()


class World:
    def __init__(self, plan: Plan, *, keep_trace: bool) -> None:
        self._plan = plan
        self._over = False
        loop = asyncio.get_running_loop()
        self._loop = loop
        self.witness = Witness(time_s=loop.time, justified=justified(plan), keep_trace=keep_trace)
        self._owner = Owner("world")
        self._bus = WorldBus(rng=self._rng("bus"), context=self._owner.context)
        self._store = CenterStore(
            time_s=loop.time, rng=self._rng("store"), committed=self._committed
        )
        self._restores = Restores(self._store, self.witness)
        self._center_clock = WorldClock(loop.time)
        self._center = SimulatedCenter(
            self._bus,
            self._store,
            seed=plan.seed,
            external=plan.broker == "external",
            clock=self._center_clock,
            witness=self.witness,
        )
        self._nodes = [self._node(index) for index in range(plan.nodes)]
        self.invariants = Invariants(self._store, self._nodes, self.witness, self._restores)
        self.tasks = TaskInvariants(
            self._store, self._nodes, self.witness, broken_until_s=self._broken_until_s
        )
        self._bus.up = plan.broker == "external"
        self._bus.tap = self._tapped
        self._injector = Injector(
            bus=self._bus,
            nodes=self._nodes,
            center=self._center,
            store=self._store,
            center_clock=self._center_clock,
            owner=self._owner,
            restores=self._restores,
            tasks=self.tasks,
            witness=self.witness,
        )

    def _broken_until_s(self) -> float:
        """When the center, or its way to all nodes, was not there for the last time."""
        now_s, center = self._loop.time(), self._center.now
        if center is None or not all(center.checks().values()) or center.identity.restored:
            return now_s
        wire = self._bus.wire(CENTER_WIRE)
        store_s = max(self._store.failing_until_s, self._store.slow_until_s)
        return max(self._center.since_s, wire.blocked_until_s, wire.slow_until_s, store_s)

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{self._plan.seed}/{name}")  # noqa: S311 # replayable, no secret

    def _node(self, index: int) -> SimulatedNode:
        name = f"node-{index + 1}"
        rng = self._rng(f"{name}/disk")
        disk = Disk(
            name,
            time_s=self._loop.time,
            rng=rng,
            witness=self.witness,
            deleted=lambda stream, epoch, seq, change: self.invariants.deleted(
                name, stream, epoch, seq, change
            ),
        )
        quota = self._plan.quota_bytes
        settings = Settings(
            node=name,
            dev=True,
            sample_interval_s=20.0,
            batch_s=60.0,
            spill_after_s=30.0 if self._plan.memory_first else 0.0,
            link_every_s=0,
            group=self._plan.site(index),
            heartbeat_s=self._plan.heartbeat_s,
        )
        if quota is not None:
            settings = replace(settings, outbox_max_bytes=quota)
        clock = WorldClock(self._loop.time, off_ms=rng.uniform(-5_000, 5_000))
        workshop = WorldWorkshop(
            name,
            clock,
            rng=self._rng(f"{name}/programs"),
            began=lambda run: self.tasks.began(run),
            ended=lambda run: self.tasks.ended(run),
        )
        return SimulatedNode(
            name,
            self._bus,
            disk,
            clock,
            workshop,
            seed=self._plan.seed,
            settings=settings,
            witness=self.witness,
        )

    def _committed(self) -> None:
        self.witness.counts.center_commits += 1
        self.witness.note("committed", self._store.raw.total_changes)
        if self._plan.sites:
            self.tasks.committed()

    def _tapped(self, client: str, message: Any) -> None:
        self.witness.counts.messages += 1
        self.witness.note("message", client, message.topic, message.payload)
        self.invariants.published(message)
        if client and not message.topic.endswith("/state"):
            self.tasks.heard(client)

    def logged(self, message: str) -> None:
        """Something was said at ERROR or above."""
        if self._over:
            return  # what the dead say while they are buried
        self.witness.note("error", message)
        if not expected(message, self._plan):
            self.witness.violated("I6", f"logged as an error: {message}")

    # Its course

    async def run(self) -> None:
        self._center.start()
        for number, node in enumerate(self._nodes):
            self._loop.call_later(0.1 * number, node.start)
        for fault in self._plan.faults:
            self._loop.call_later(fault.at_s, self._injector.perform, fault)
        for at_s, fault in self._plan.copies():
            self._loop.call_later(at_s, self._injector.copy, fault)
        while self._loop.time() < self._plan.end_s:
            await asyncio.sleep(LOOK_EVERY_S)
            self.invariants.books()
        self.witness.note("healed")
        self._injector.heal()
        if await self._settled():
            self.invariants.final()
            self.invariants.whole()
            self._restores.final()
            self.invariants.presence(self._online(), self._here())
            await self._end()

    async def _settled(self) -> bool:
        deadline_s = self._loop.time() + SETTLE_S
        while True:
            await asyncio.sleep(5.0)
            waits = self._waits_for()
            if waits is None:
                return True
            if self._loop.time() > deadline_s:
                self.witness.violated("I8", f"did not come to rest: {waits}")
                missing = self.invariants.incomplete()
                if missing is not None:
                    self.witness.violated("I1", missing)
                work = self.tasks.unsettled() if self._plan.sites else None
                if work is not None:
                    self.witness.violated("I12", work)
                self.invariants.final()
                return False

    def _waits_for(self) -> str | None:
        """Why the world is not at rest yet."""
        self._injector.heal()
        center = self._center.now
        if center is None or not all(center.checks().values()):
            return "the center is not ready"
        if center.identity.restored:
            return "the center waits for a person"
        for node in self._nodes:
            if node.retired:
                continue
            if node.agent is None or not node.agent.connected or not self._bus.connected(node.name):
                return f"{node.name} is not connected"
            queues = node.agent.outbox.queues()
            unsent = {name: queue.records for name, queue in queues.items() if queue.records}
            if unsent:
                return f"{node.name} keeps {unsent}"
        if self._online() != self._here():
            return f"presence of {', '.join(sorted(self._online() ^ self._here()))}"
        work = self.tasks.unsettled() if self._plan.sites else None
        return work or self._open_commands() or self.invariants.incomplete()

    def _open_commands(self) -> str | None:
        for command_id, node, state in self._store.rows(
            "SELECT command_id, node, state FROM command_target "
            "WHERE state IN ('queued', 'sent', 'received', 'accepted', 'running')"
        ):
            if state in ("queued", "sent") or not self.invariants.endless(node):
                return f"command {command_id} at {node} is {state}"
        return None

    def _online(self) -> frozenset[str]:
        center = self._center.now
        return center.nodes.registry.online() if center is not None else frozenset()

    def _here(self) -> frozenset[str]:
        return frozenset(node.name for node in self._nodes if node.agent is not None)

    async def _end(self) -> None:
        """Everyone stops orderly: all is told, and the center sees everyone leave."""
        await asyncio.gather(*(node.stop() for node in self._nodes))
        for _ in range(int(GONE_S)):
            await asyncio.sleep(1.0)
            if not self._online():
                break
        self.invariants.final()
        self.invariants.presence(self._online(), frozenset())
        await self._center.stop()

    def outcome(self, complaints: list[dict[str, Any]]) -> Outcome:
        """``complaints``: exceptions that the loop found nobody to give to."""
        witness = self.witness
        for complaint in complaints:
            text = repr(complaint.get("exception") or complaint.get("message"))
            witness.violated("I6", f"nobody took an exception: {text}")
        return Outcome(
            plan=self._plan,
            digest=witness.digest(),
            violations=tuple(witness.violations),
            counts=replace(witness.counts),
            virtual_s=self._loop.time(),
            trace=tuple(witness.trace),
        )

    def close(self) -> None:
        self._over = True
        for owner in [
            self._owner,
            *self._center.owners,
            *(owner for node in self._nodes for owner in node.owners),
        ]:
            owner.bury()
        self._store.close()


def run_plan(plan: Plan, *, keep_trace: bool = False) -> Outcome:
    """The whole life of a world. Changes the logging of this process while it runs."""
    loop = VirtualLoop()
    collecting = gc.isenabled()
    gc.disable()  # what the dead left behind must not be collected at a moment of its own
    try:
        world = loop.run_until_complete(_built(plan, keep_trace))
        with listening(world.logged):
            try:
                loop.run_until_complete(world.run())
            except StandstillError as exc:
                world.witness.violated("I8", str(exc))
            outcome = world.outcome(loop.complaints)
            world.close()
        return outcome
    finally:
        loop.close()
        if collecting:
            gc.enable()


async def _built(plan: Plan, keep_trace: bool) -> World:
    return World(plan, keep_trace=keep_trace)
