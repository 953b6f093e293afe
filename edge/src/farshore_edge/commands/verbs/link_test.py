"""``link-test``: delay, loss and throughput to the center, by probes over the agent's own link.

One test at a time. What is under way is bounded (``link_window.py``), so that the streams' records,
which travel over the same connection, wait less than a second for it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from farshore_protocol.codec import encode
from farshore_protocol.commands import CommandError
from farshore_protocol.commands.catalogue import LinkTestArgs
from farshore_protocol.commands.catalogue.network import LinkTestResult, RoundTrips, Throughput
from farshore_protocol.link import Message
from farshore_protocol.messages.probe import Probe, ProbeAnswer, padding
from farshore_protocol.topics import Up

from farshore_edge.commands.verbs.link_window import Window, round_trips, summary
from farshore_edge.commands.verbs.model import Context, Outcome

PATIENCE_S = 5.0
"""After so long without an answer a probe counts as lost."""
LATE_MESSAGES = 8
OFFLINE = "there is no connection to the center now"
BUSY = "the center has too many tests of links to answer now; try again later"
SILENT = "no probe was answered within {wait:g} s: the center is away, or of a version without link tests"


class Uplink(Protocol):
    @property
    def connected(self) -> bool: ...

    def publish(self, message: Message) -> bool: ...


class _StoppedError(Exception):
    """The test can't go on; ``code`` and text say why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """``took_s``: there and back; ``up``, ``down``: bytes of the probe and of its answer; ``busy``: the
    center would not."""

    took_s: float
    up: int
    down: int
    busy: bool


class LinkTest:
    """``over``: the broker's address; ``draw``: names a test; ``measured`` hears of each that has come to its
    end."""

    def __init__(
        self,
        uplink: Uplink,
        *,
        node: str,
        over: str,
        monotonic_s: Callable[[], float],
        draw: Callable[[], str],
        measured: Callable[[LinkTestResult], None] = lambda _result: None,
    ) -> None:
        self._uplink = uplink
        self._topic = Up(node=node, kind="probe").build()
        self._over = over
        self._monotonic_s = monotonic_s
        self._draw = draw
        self._measured = measured
        self._test: str | None = None
        self._next = 0
        self._under_way: dict[int, tuple[float, asyncio.Future[_Answer]]] = {}

    def answered(self, word: ProbeAnswer, size: int) -> None:
        """An answer came from the link, ``size`` bytes of payload; one that is too late is ignored."""
        sent = self._under_way.pop(word.n, None) if word.test == self._test else None
        if sent is None or sent[1].done():
            return
        took_s = self._monotonic_s() - sent[0]
        sent[1].set_result(_Answer(took_s=took_s, up=word.bytes, down=size, busy=word.busy))

    async def __call__(self, args: LinkTestArgs, _context: Context) -> Outcome:
        return await self.measure(args)

    async def measure(self, args: LinkTestArgs) -> Outcome:
        if self._test is not None:
            return _failed("busy", "another link-test runs on this node; one at a time")
        self._test = self._draw()
        trips: RoundTrips | None = None
        moved: dict[str, Throughput] = {}
        try:
            trips = await self._round_trips(args)
            if trips.answered == 0:
                raise _StoppedError("no_answer", SILENT.format(wait=PATIENCE_S))
            for way in ("up", "down"):
                if args.bytes and args.direction in ("both", way):
                    moved[way] = await self._throughput(way, args)
        except _StoppedError as exc:
            return _failed(exc.code, str(exc), self._result(trips, moved))
        finally:
            self._test = None
            self._forget()
        self._measured(self._told(trips, moved))
        return Outcome(result=self._result(trips, moved))

    def _result(
        self, trips: RoundTrips | None, moved: dict[str, Throughput]
    ) -> dict[str, Any] | None:
        return None if trips is None else asdict(self._told(trips, moved))

    def _told(self, trips: RoundTrips, moved: dict[str, Throughput]) -> LinkTestResult:
        told = summary(trips, moved)
        return LinkTestResult(over=self._over, summary=told, round_trip=trips, **moved)

    def _forget(self) -> None:
        for _, future in self._under_way.values():
            future.cancel()
        self._under_way.clear()

    def _send(self, *, up: int = 0, down: int = 0) -> asyncio.Future[_Answer]:
        n = self._next = self._next + 1
        probe = Probe(test=self._test or "", n=n, answer_bytes=down, pad=padding(up, n))
        future: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._under_way[n] = (self._monotonic_s(), future)
        if not self._uplink.publish(Message(topic=self._topic, payload=encode(probe))):
            raise _StoppedError("offline", OFFLINE)
        return future

    async def _round_trips(self, args: LinkTestArgs) -> RoundTrips:
        probes = []
        for _ in range(args.count):
            probes.append(self._send())
            await asyncio.sleep(args.interval_s)
        await asyncio.wait(probes, timeout=PATIENCE_S)
        return round_trips(args.count, [each.result().took_s for each in probes if each.done()])

    async def _throughput(self, way: str, args: LinkTestArgs) -> Throughput:
        """Keeps a window's worth of probes under way until all is moved or the time is over."""
        self._under_way.clear()
        window, flow = Window(), _Flow()
        began_s = self._monotonic_s()
        until_s = began_s + args.seconds
        while True:
            now_s = self._monotonic_s()
            while now_s < until_s and flow.asked < args.bytes and flow.has_room(window):
                piece = min(window.piece, args.bytes - flow.asked)
                flow.add(self._send(**{way: piece}), piece, now_s)
            if not flow.under_way:
                break
            await asyncio.wait(flow.under_way, timeout=0.25, return_when=asyncio.FIRST_COMPLETED)
            if not self._uplink.connected:
                raise _StoppedError("offline", "the connection was lost in the middle of the test")
            flow.settle(window, way, self._monotonic_s())
        seconds = max(flow.last_s - began_s, 1e-6)
        return Throughput(
            bytes=flow.bytes,
            messages=flow.messages,
            lost=flow.lost,
            seconds=round(seconds, 3),
            bytes_per_s=round(flow.bytes / seconds, 1) if flow.bytes else 0.0,
            late_bytes_per_s=flow.late_bytes_per_s(),
            complete=flow.asked >= args.bytes and flow.lost == 0,
        )


class _Flow:
    """What is under way in one direction, and what has arrived."""

    def __init__(self) -> None:
        self.under_way: dict[asyncio.Future[_Answer], tuple[int, float]] = {}
        self.asked = self.bytes = self.messages = self.lost = 0
        self.last_s = 0.0
        self._flying = 0
        self._came: list[tuple[float, int]] = []

    def late_bytes_per_s(self) -> float | None:
        """Of the second half, when the window has grown; None where too few arrived to tell."""
        middle = next((at for at in self._came if at[1] >= self.bytes / 2), None)
        if self.messages < LATE_MESSAGES or middle is None or self.last_s <= middle[0]:
            return None
        return round((self.bytes - middle[1]) / (self.last_s - middle[0]), 1)

    def has_room(self, window: Window) -> bool:
        return not self.under_way or self._flying + window.piece <= window.bytes

    def add(self, probe: asyncio.Future[_Answer], piece: int, now_s: float) -> None:
        self.under_way[probe] = (piece, now_s)
        self.asked += piece
        self._flying += piece

    def settle(self, window: Window, way: str, now_s: float) -> None:
        """Raises _StoppedError where the center refuses."""
        for probe, (piece, sent_s) in list(self.under_way.items()):
            if probe.done():
                answer = probe.result()
                if answer.busy:
                    raise _StoppedError("busy", BUSY)
                window.answered(piece, answer.took_s)
                self.messages += 1
                self.bytes += answer.up if way == "up" else answer.down
                self.last_s = now_s
                self._came.append((now_s, self.bytes))
            elif now_s - sent_s > PATIENCE_S:
                probe.cancel()
                window.lost()
                self.lost += 1
                self.last_s = now_s
            else:
                continue
            self._flying -= piece
            del self.under_way[probe]


def _failed(code: str, message: str, result: dict[str, Any] | None = None) -> Outcome:
    error = CommandError(code=code, message=message)
    return Outcome(state="failed", error=error, result=result)
