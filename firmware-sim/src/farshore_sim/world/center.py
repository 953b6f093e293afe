"""The center of a world: lives that follow each other over one durable store."""

import asyncio
import random
from contextvars import Context, copy_context
from dataclasses import replace
from pathlib import Path

from farshore_center.app import Center
from farshore_center.db.errors import DatabaseError
from farshore_center.settings import Address, Settings
from farshore_center.telemetry.service import HistorySettings
from farshore_center.uplink import Uplink
from farshore_protocol.clock import Clock
from fastapi import FastAPI

from farshore_sim.world.bus import WorldBus
from farshore_sim.world.loop import Owner
from farshore_sim.world.store import CenterStore, InlineDatabase
from farshore_sim.world.uplinks import CENTER_WIRE, EmbeddedWorldUplink, ExternalWorldUplink
from farshore_sim.world.witness import Witness

_NOWHERE = Address(host="world", port=1)
STOP_S = 120.0
AGAIN_S = 5.0
_HISTORY = HistorySettings(interval_s=30.0, compact_batches=15)
"""Chunks are made often enough that an hour sees many, and asked for seldom enough to be quick."""


class WorldCenter(Center):
    """The real center without HTTP; the bus in place of its broker."""

    def __init__(
        self,
        bus: WorldBus,
        settings: Settings,
        *,
        clock: Clock,
        rng: random.Random,
        database: InlineDatabase,
    ) -> None:
        self._bus = bus
        self._context: Context = copy_context()
        super().__init__(settings, clock=clock, rng=rng, database=database)
        self.history._settings = _HISTORY

    def _make_uplink(self, rng: random.Random) -> Uplink:
        epoch = self._ids.epoch()
        if self.settings.external_broker:
            return ExternalWorldUplink(
                self._bus,
                take=self.intake.take,
                ended=self._ended,
                epoch=epoch,
                clock=self._clock,
                rng=rng,
            )
        return EmbeddedWorldUplink(
            self._bus,
            take=self.intake.take,
            ended=self._ended,
            epoch=epoch,
            context=self._context,
        )

    def _make_api(self) -> FastAPI:
        return FastAPI()


class SimulatedCenter:
    """``now``: the center that lives, None while none does. ``restored``: a person says at the next
    start that the store is from a backup."""

    def __init__(
        self,
        bus: WorldBus,
        store: CenterStore,
        *,
        seed: int,
        external: bool,
        clock: Clock,
        witness: Witness,
    ) -> None:
        self._bus = bus
        self._store = store
        self._seed = seed
        self.external = external
        self._clock = clock
        self._witness = witness
        self._life = 0
        self._outside = copy_context()
        self._stopping = False
        self.restored = False
        self.since_s = 0.0
        self.now: WorldCenter | None = None
        self.owner: Owner | None = None
        self.owners: list[Owner] = []
        self._settings = Settings(
            data=Path("/nowhere"),
            http=_NOWHERE,
            mqtt=_NOWHERE,
            external_broker=external,
            database="",
            dev=True,
        )

    def start(self) -> None:
        if self.now is not None or self._stopping:
            return
        self._life += 1
        self.since_s = self._witness.time_s()
        self._witness.counts.center_lives += 1
        self._witness.note("center starts", self._life)
        owner = self.owner = Owner(f"center/{self._life}")
        self.owners.append(owner)
        rng = random.Random(f"{self._seed}/center/{self._life}")  # noqa: S311 # replayable
        center = self.now = owner.make(
            lambda: WorldCenter(
                self._bus,
                replace(self._settings, restored=self.restored),
                clock=self._clock,
                rng=rng,
                database=InlineDatabase(self._store),
            )
        )
        owner.spawn(self._live(center), f"center {self._life}")

    async def _live(self, center: WorldCenter) -> None:
        try:
            await center.start()
            self.restored = False
        except DatabaseError as exc:
            if center is not self.now:
                return  # it was stopped meanwhile
            if not self._store.has_failed():
                self._witness.violated("I6", f"the center did not start: {exc!r}")
                return
            # The program ends, and whoever keeps it running tries again.
            again = asyncio.get_running_loop()
            again.call_soon(self.crash, 0.0, context=self._outside)
            again.call_later(AGAIN_S, self.start, context=self._outside)
            return
        except Exception as exc:
            self._witness.violated("I6", f"the center did not start: {exc!r}")
            return
        await center.broken.wait()
        self._witness.violated("I6", "a part of the center broke")

    @property
    def stopping(self) -> bool:
        return self._stopping

    def crash(self, broker_s: float) -> None:
        """Killed: nothing of it runs on, and what is not committed is gone."""
        if self.owner is None or self.now is None:
            return
        self._witness.note("center dies", self._life)
        self.owner.kill()
        self.now = None
        if self.external:
            self._bus.cut(CENTER_WIRE, broker_s=broker_s, client_s=None)
        else:
            self._bus.go_down(wipe=True)

    async def stop(self) -> None:
        """Orderly, as on SIGTERM."""
        center, owner = self.now, self.owner
        if center is None or owner is None:
            return
        self.now, self._stopping = None, True
        self._witness.note("center stops", self._life)
        stopping = owner.spawn(center.stop(), "center stops")
        done, _ = await asyncio.wait([stopping], timeout=STOP_S)
        if not done:
            self._witness.violated("I6", f"the center did not stop within {STOP_S:g} s")
        elif stopping.exception() is not None:
            self._witness.violated("I6", f"the center's stop broke: {stopping.exception()!r}")
        owner.kill()
        self._stopping = False
