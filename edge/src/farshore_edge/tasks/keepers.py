"""The keepers of all instances here: one for each that has not ended, two of one instance never at once."""

import asyncio
import logging
from collections.abc import Callable, Iterator

from farshore_protocol.tasks.spec import Gpus

from farshore_edge.tasks.beginning import AT_WORK
from farshore_edge.tasks.drivers.model import Running
from farshore_edge.tasks.keeper import Keeper
from farshore_edge.tasks.ledger import Ledger
from farshore_edge.tasks.model import Kept
from farshore_edge.tasks.office import Office

log = logging.getLogger(__name__)

LET_GO_S = 5.0
BROKE_S = 5.0
"""Until one that broke is begun anew, as after the agent's death."""


class Keepers:
    """``named``: ids in the newest document, None before there was one; what has ended and is not among
    them is forgotten. ``leased``: called when there is one that needs a lease."""

    def __init__(
        self, office: Callable[[], Office], ledger: Ledger, leased: Callable[[], None]
    ) -> None:
        self.named: frozenset[str] | None = None
        self._office = office
        self._ledger = ledger
        self._leased = leased
        self._keepers: dict[str, Keeper] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._removals: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Keeper]:
        return iter(list(self._keepers.values()))

    # What is known of all

    def all(self) -> list[Kept]:
        return [self.now(name) for name in self._ledger.books.kept]

    def now(self, name: str) -> Kept:
        keeper = self._keepers.get(name)
        return self._ledger.books.kept[name] if keeper is None else keeper.kept

    def running(self) -> dict[str, Running]:
        """``TASK/INSTANCE`` → its run, of all that run now."""
        found = ((keeper.kept.key, keeper.running) for keeper in self._keepers.values())
        return {key: running for key, running in found if running is not None}

    def taken(self) -> frozenset[int]:
        """Processors that are given to some instance alone."""
        return frozenset(n for kept in self.all() if not kept.ended for n in kept.cpus)

    def gpus(self, but: str) -> list[tuple[Gpus, tuple[int, ...]]]:
        """What those have that are at work, but for the one of that id."""
        return [
            (kept.grant.spec.requests.gpu, kept.grant.gpus)
            for kept in self.all()
            if kept.id != but and kept.state in AT_WORK and kept.grant.gpus
        ]

    def devices(self, but: str) -> frozenset[str]:
        """What those have that are at work, but for the one of that id."""
        return frozenset(
            name
            for kept in self.all()
            if kept.id != but and kept.state in AT_WORK
            for name in kept.grant.spec.requests.devices
        )

    # Their lives

    def take_up(self) -> None:
        """At the agent's start: what an earlier one had."""
        for kept in list(self._ledger.books.kept.values()):
            if not kept.ended:
                self._keep(kept, recovered=True)

    def start_waiting(self) -> None:
        """A grant is begun once no other of its instance is at work here."""
        busy = {keeper.kept.key for keeper in self._keepers.values()}
        for name, kept in self._ledger.books.kept.items():
            if name not in self._keepers and not kept.ended and kept.key not in busy:
                busy.add(kept.key)
                self._keep(kept)

    def stop(self, name: str, reason: str) -> None:
        if name in self._keepers:
            self._keepers[name].orders.stop(reason)

    async def let_go(self) -> None:
        """Of everything; what runs goes on."""
        lives = list(self._lives.values())
        for life in lives:
            life.cancel()
        if lives:
            await asyncio.wait(lives, timeout=LET_GO_S)

    def _keep(self, kept: Kept, *, recovered: bool = False) -> None:
        keeper = self._keepers[kept.id] = Keeper(kept, self._office(), recovered=recovered)
        life = asyncio.create_task(keeper.run(), name=f"task {kept.id}")
        self._lives[kept.id] = life
        life.add_done_callback(lambda done: self._over(keeper, done))
        if kept.leased:
            self._leased()

    def _over(self, keeper: Keeper, life: "asyncio.Task[None]") -> None:
        name = keeper.kept.id
        if life.cancelled():
            return
        if (broke := life.exception()) is not None:
            log.critical("the keeper of a task broke", extra={"task": name}, exc_info=broke)
            keeper.note(f"the agent failed at it, {type(broke).__name__}: {broke}")
            self._lives[name] = asyncio.create_task(self._anew(keeper), name=f"task {name}, anew")
            return
        del self._keepers[name], self._lives[name]
        if name in self._ledger.books.kept:
            self._ledger.put(keeper.kept)
            if self.named is not None and name not in self.named:  # nobody asks for it
                self._ledger.forget(name)
                self._remove(name)
        self.start_waiting()
        self._office().changed()

    async def _anew(self, keeper: Keeper) -> None:
        """What it had begun is found, or is known to have ended, and then it goes on."""
        await asyncio.sleep(BROKE_S)
        self._keep(keeper.kept, recovered=True)

    def _remove(self, name: str) -> None:
        """Its folder, which may be large."""
        removing = asyncio.create_task(asyncio.to_thread(self._office().folders.remove, name))
        self._removals.add(removing)
        removing.add_done_callback(self._removals.discard)
