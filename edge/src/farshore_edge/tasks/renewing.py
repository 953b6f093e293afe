"""Leases of what runs here: asked for in time, taken from answers, and acted upon when they are over."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from farshore_protocol.codec import decode, encode
from farshore_protocol.link import Link, Message
from farshore_protocol.tasks import LeaseAnswer, LeaseRequest
from farshore_protocol.topics import Up

from farshore_edge.tasks.keeper import Keeper
from farshore_edge.tasks.lease import lease_of, renew_every_s

log = logging.getLogger(__name__)

REMEMBERED = 64
"""Requests whose answers are still of use."""
LOOK_S = 1.0
"""A machine that slept may wake up with leases that are over."""

Name = tuple[str, int, int]


class Renewing:
    """``boot``: this start of the agent. ``keepers``: of all instances here."""

    def __init__(
        self,
        *,
        node: str,
        boot: str,
        link: Link,
        boot_s: Callable[[], float],
        keepers: Callable[[], Iterable[Keeper]],
    ) -> None:
        self._topic = Up(node=node, kind="lease").build()
        self._boot = boot
        self._link = link
        self._boot_s = boot_s
        self._keepers = keepers
        self._asked: dict[int, frozenset[Name]] = {}
        self._due = asyncio.Event()

    def hurry(self) -> None:
        """The link is there, or there is a new grant: it asks at once."""
        self._due.set()

    async def run(self) -> None:
        next_s = 0.0
        while True:
            held = [each for each in self._keepers() if _asks(each)]
            now_s = self._boot_s()
            if held and (self._due.is_set() or now_s >= next_s):
                self._ask(held, now_s)
                next_s = now_s + min(renew_every_s(each.kept.grant.spec) for each in held)
            self._due.clear()
            for keeper in held:
                if keeper.orders.lease is not None and self._boot_s() >= keeper.orders.lease.stop_s:
                    self._over(keeper)
            await self._pause(held, next_s)

    async def _pause(self, held: list[Keeper], next_s: float) -> None:
        if not held:
            await self._due.wait()
            return
        ends = [each.orders.lease.stop_s for each in held if each.orders.lease is not None]
        left_s = min([next_s, *ends]) - self._boot_s()
        try:
            async with asyncio.timeout(max(0.01, min(left_s, LOOK_S))):
                await self._due.wait()
        except TimeoutError:
            return

    def _over(self, keeper: Keeper) -> None:
        """What runs ends; what waits for its lease goes on waiting, unless it has run before."""
        if keeper.kept.runs or keeper.kept.pid is not None:
            keeper.orders.stop("lease_over")

    def _ask(self, held: list[Keeper], now_s: float) -> None:
        up_ms = int(now_s * 1000)
        names = frozenset(map(_name, held))
        request = LeaseRequest(boot=self._boot, up_ms=up_ms, held=tuple(sorted(names)))
        if self._link.publish(Message(topic=self._topic, payload=encode(request))):
            self._asked[up_ms] = names
            for old in list(self._asked)[:-REMEMBERED]:
                del self._asked[old]

    def take(self, payload: bytes) -> None:
        """An answer. Raises MessageError for what is none."""
        answer = decode(LeaseAnswer, payload)
        asked = (
            self._asked.get(answer.up_ms, frozenset()) if answer.boot == self._boot else frozenset()
        )
        renewed = set(answer.renewed) & asked
        for keeper in self._keepers():
            name = _name(keeper)
            if name in renewed:
                keeper.orders.renew(lease_of(keeper.kept.grant.spec, answer.up_ms / 1000))
            elif name in asked and keeper.orders.lease is not None:
                log.warning("the center does not renew a lease", extra={"task": keeper.kept.id})
                self._over(keeper)


def _name(keeper: Keeper) -> Name:
    grant = keeper.kept.grant
    return grant.task, grant.instance, grant.epoch


def _asks(keeper: Keeper) -> bool:
    kept = keeper.kept
    return kept.leased and not kept.ended and kept.stop is None
