"""An asyncio event loop on virtual time, and owners: whose code is running.

When nothing is ready, time jumps to the next timer: an hour of waiting costs nothing. There are no
sockets and no threads (``to_thread`` runs at once, in place), so the order of everything follows
from what was scheduled. An ``Owner`` that is killed never runs another line, not even a ``finally``:
that is what SIGKILL and a power cut do to a process.
"""

import asyncio
import contextlib
import heapq
import warnings
from asyncio import base_events
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar, TypeVarTuple

from farshore_sim.errors import SimError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

TURNS_MAX = 20_000
"""Turns of the loop at one instant; a world that needs more is running in circles."""
TICK_S = 1e-6
_PRUNE_AT = 256


class StandstillError(SimError):
    """Nothing is ready and no timer is set, or time does not go on."""


class Owner:
    """One life of a process: everything that it starts belongs to it, through the context."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.context = copy_context()
        self.context.run(_OWNER.set, self)
        self._tasks: list[asyncio.Task[Any]] = []
        self._prune_at = _PRUNE_AT
        self._put_off: list[asyncio.Handle] | None = None

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        return asyncio.get_running_loop().create_task(work, name=name, context=self.context)

    def make(self, build: Callable[[], T]) -> T:
        """What ``build`` makes and starts belongs to this owner."""
        return self.context.run(build)

    def keep(self, task: asyncio.Task[Any]) -> None:
        """A pending task that nobody holds would be collected, and its ``finally`` run."""
        self._tasks.append(task)
        if len(self._tasks) > self._prune_at:
            self._tasks = [each for each in self._tasks if not each.done()]
            self._prune_at = 2 * len(self._tasks) + _PRUNE_AT

    def kill(self) -> None:
        self.dead = True
        self._put_off = None

    def freeze(self) -> None:
        """As SIGSTOP: what would run now runs when it is thawed."""
        if not self.dead and self._put_off is None:
            self._put_off = []

    def thaw(self) -> None:
        """Goes on, with what came meanwhile in its order."""
        put_off, self._put_off = self._put_off or [], None
        loop: Any = asyncio.get_running_loop()
        loop._ready.extend(put_off)

    @property
    def frozen(self) -> bool:
        return self._put_off is not None

    def takes(self, handle: asyncio.Handle) -> bool:
        """Whether it runs now."""
        if self._put_off is not None:
            self._put_off.append(handle)
        return not self.dead and self._put_off is None

    def bury(self) -> None:
        """At the world's end: lets go of what never came to its end."""
        self.dead = True
        for task in self._tasks:
            if task.done():
                continue
            task._log_destroy_pending = False  # type: ignore[attr-defined] # nobody is to be told
            coroutine = task.get_coro()
            with warnings.catch_warnings():
                # Whatever the dead say, and begin, in their ``finally``.
                warnings.simplefilter("ignore", RuntimeWarning)
                with contextlib.suppress(Exception):
                    coroutine.close()
        self._tasks.clear()


_OWNER: ContextVar[Owner | None] = ContextVar("owner", default=None)


def _runs(handle: "_Handle | _TimerHandle") -> bool:
    owner = handle._context.get(_OWNER)
    return owner is None or owner.takes(handle)


class _Handle(asyncio.Handle):
    __slots__ = ()

    _context: Context

    def _run(self) -> None:
        if _runs(self):
            super()._run()


class _TimerHandle(asyncio.TimerHandle):
    __slots__ = ()

    _context: Context

    def _run(self) -> None:
        if _runs(self):
            super()._run()


class _Selector:
    """In the place where a real loop sleeps: time jumps instead."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout_s: float | None) -> list[Any]:
        self._loop.advance(timeout_s)
        return []

    def close(self) -> None:
        return None


class VirtualLoop(base_events.BaseEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._turns = 0
        self._selector = _Selector(self)
        self.complaints: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _loop, context: self.complaints.append(context))
        self.set_task_factory(_make_task)  # type: ignore[arg-type] # as 3.11 calls it, by keyword

    def time(self) -> float:
        return self._now_s

    def advance(self, timeout_s: float | None) -> None:
        """To the next timer; ``timeout_s`` is how far that is, 0 while something is ready."""
        self._turns += 1
        if timeout_s is None:
            raise StandstillError(f"at {self._now_s:.3f} s nothing is ready and no timer is set")
        if timeout_s > 0:
            # The timer's own time, not a sum that may fall short of it by rounding.
            scheduled: list[Any] = self._scheduled  # type: ignore[attr-defined] # asyncio's heap
            self._now_s = max(self._now_s, scheduled[0].when())
            self._turns = 0
        elif self._turns > TURNS_MAX:
            raise StandstillError(f"at {self._now_s:.3f} s the world runs in circles")

    def _process_events(self, _event_list: list[Any]) -> None:
        return None

    def _write_to_self(self) -> None:
        return None

    def _call_soon(
        self, callback: Callable[..., Any], args: Any, context: Context | None
    ) -> asyncio.Handle:
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined] # asyncio's queue
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        # Never at the same instant: who waits for less than a float can tell would wait for ever.
        when = max(when, self._now_s + TICK_S)
        timer = _TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined] # asyncio's heap
        timer._scheduled = True  # type: ignore[attr-defined] # as BaseEventLoop marks it
        return timer

    def run_in_executor(  # type: ignore[override] # no executor is ever asked
        self, _executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """At once and in place; the answer comes in a later turn."""
        future: asyncio.Future[T] = self.create_future()
        try:
            value = func(*args)
        except Exception as exc:
            self.call_soon(_unless_done, future.set_exception, future, exc)
        else:
            self.call_soon(_unless_done, future.set_result, future, value)
        return future


def _unless_done(call: Callable[[Any], None], future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        call(value)


def _make_task(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, T],
    context: Context | None = None,
) -> asyncio.Task[T]:
    task = asyncio.Task(work, loop=loop, context=context)
    owner = _OWNER.get() if context is None else context.get(_OWNER)
    if owner is not None:
        owner.keep(task)
    return task
