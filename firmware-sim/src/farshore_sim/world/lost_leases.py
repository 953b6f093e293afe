"""Leases of futures that a restored center can't know of, and what is excused because of them.

A center that begins waits for as long as the lease of what it grants lasts (``docs/tasks.md``: a restored
center). A lease that was longer in the lost future, or one where the backup knows of none, may last beyond
that, and is excused until it ends.
"""

from farshore_sim.world.store import CenterStore
from farshore_sim.world.workshop import WorldRun

Grant = tuple[str, int, int]
"""Task, instance, epoch."""


class LostLeases:
    def __init__(self, store: CenterStore) -> None:
        self._store = store
        self._leaving: dict[Grant, float] = {}
        self._lost: dict[Grant, float] = {}

    def leave(self) -> None:
        """The store is about to be set back."""
        self._leaving = self._leases()

    def left(self) -> None:
        """It was."""
        known = self._leases()
        self._lost |= {of: lease for of, lease in self._leaving.items() if of not in known}
        self._leaving = {}

    def excuse(self, one: WorldRun, other: WorldRun) -> bool:
        """Whether the earlier of two runs has a longer lease than a center could know that granted the
        later one."""
        earlier, later = sorted((one, other), key=lambda run: run.epoch)
        lease_s = self._leases().get((*later.key, later.epoch))
        lost_s = self._lost.get((*earlier.key, earlier.epoch), 0.0)
        return lease_s is not None and one.node != other.node and lost_s > lease_s

    def _leases(self) -> dict[Grant, float]:
        return {
            (task, instance, epoch): lease_s
            for task, instance, epoch, lease_s in self._store.rows(
                "SELECT task, instance, epoch, lease_s FROM task_grant"
            )
        }
