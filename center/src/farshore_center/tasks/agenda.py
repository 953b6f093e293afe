"""What the loop of tasks looks at next: instances, nodes, tasks, each at its moment. In memory alone."""

import asyncio
from collections.abc import Callable, Iterable

from farshore_center.sending import woken
from farshore_center.tasks.deadlines import Deadlines
from farshore_center.tasks.records import Key

Look = tuple[str, str, int]
"""``instance``, ``node``, ``ear`` (a node whose silence may be due), ``task`` or ``balance``; its name; the
number of the instance."""

BALANCE: Look = ("balance", "", 0)


class Agenda:
    def __init__(self, *, now_ms: Callable[[], int], now_s: Callable[[], float]) -> None:
        self._now_ms = now_ms
        self._now_s = now_s
        self._due: Deadlines[Look] = Deadlines()
        self._woken = asyncio.Event()

    def put(self, look: Look, at_s: float) -> None:
        self._due.put(look, at_s)

    def put_at_ms(self, look: Look, at_ms: int) -> None:
        """On the wall clock."""
        self._due.put(look, self._now_s() + max(0.0, (at_ms - self._now_ms()) / 1000))

    def look_now(self, keys: Iterable[Key]) -> None:
        now_s = self._now_s()
        for task, number in keys:
            self._due.put(("instance", task, number), now_s)
        self.wake()

    def look_at_node(self, node: str, in_s: float = 0.0) -> None:
        self._due.put(("node", node, 0), self._now_s() + in_s)
        self.wake()

    def listen(self, node: str, at_s: float) -> None:
        """Then it is asked whether the node was heard; only where it was not it is looked at."""
        self._due.put(("ear", node, 0), at_s)

    def occurs(self, task: str, next_ms: int) -> None:
        """A task with a cron rule is due then."""
        self.put_at_ms(("task", task, 0), next_ms)
        self.wake()

    def take_due(self, limit: int) -> list[Look]:
        return self._due.take_due(self._now_s(), limit)

    def wake(self) -> None:
        """Looks at the clock."""
        self._woken.set()

    def begin(self) -> None:
        """What wakes from now on counts for the next ``wait``."""
        self._woken.clear()

    async def wait(self, held_s: float | None = None) -> None:
        """Until something is due, or somebody wakes; ``held_s``: for so long, whatever is due."""
        next_s = self._due.next_s()
        due_in_s = None if next_s is None else next_s - self._now_s()
        await woken(self._woken, due_in_s if held_s is None else held_s)
