"""What must hold of tasks in every world: ``docs/world.md``, I9 to I13.

Runs are compared by true time, whatever the clocks of their nodes show. The center is asked past its own
code, in the transaction that it is about to commit.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from farshore_center.tasks.work import UNANSWERED
from farshore_protocol.tasks import TaskSpec

from farshore_sim.world.lost_leases import LostLeases
from farshore_sim.world.node import SimulatedNode
from farshore_sim.world.store import CenterStore
from farshore_sim.world.witness import Witness
from farshore_sim.world.workshop import Key, WorldRun

LATE_S = 1.0
"""What a node sent before its site was cut arrives so much later, and nobody calls that late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCut:
    """``nodes``: all of the site; ``well``: those that the center heard until ``at_s``."""

    site: str
    at_s: float
    until_s: float
    nodes: frozenset[str]
    well: frozenset[str]


class Row(NamedTuple):
    """An instance as the center has it, with its task's wish and its grant's node."""

    task: str
    instance: int
    wanted: str
    state: str
    epoch: int
    reason: str | None
    node: str | None
    at_node: str | None

    @property
    def key(self) -> Key:
        return self.task, self.instance

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        grant = f"epoch {self.epoch} at {self.node} is {self.at_node}" if self.node else "no grant"
        return f"{self.task}/{self.instance} is {self.state}{why}, {grant}"


class TaskInvariants:
    """``broken_until_s``: until when the center, or its way to all nodes, was not there."""

    def __init__(
        self,
        store: CenterStore,
        nodes: Sequence[SimulatedNode],
        witness: Witness,
        *,
        broken_until_s: Callable[[], float],
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._sites = {node.name: node.site for node in nodes}
        self._witness = witness
        self._broken_until_s = broken_until_s
        self._running: dict[Key, list[WorldRun]] = {}
        self._highest: dict[tuple[str, Key], int] = {}
        self._well: set[tuple[Key, int]] = set()
        self._accepted: dict[tuple[Key, int, int], tuple[int, str | None]] = {}
        self._current: dict[Key, int] = {}
        self._step = 0
        self._cuts: list[SiteCut] = []
        self._heard_s: dict[str, float] = {}
        self._lost_leases = LostLeases(store)

    # Nodes

    def began(self, run: WorldRun) -> None:
        """I10 and I13."""
        counts, key = self._witness.counts, run.key
        counts.task_runs += 1
        counts.task_runs_leased += run.leased
        self._witness.note("begins", run)
        others = self._running.setdefault(key, [])
        for other in others:
            # The contract of the earlier grant counts: the task may have been changed since.
            harms = min(other, run, key=lambda each: each.epoch).leased or other.node == run.node
            if harms and self._lost_leases.excuse(run, other):
                counts.task_overlaps_excused += 1
                self._witness.note("excused", run, other)
            elif harms:
                self._witness.violated("I10", f"{run} began while {other} was at work")
        others.append(run)
        before = self._highest.get((run.node, key), 0)
        if run.epoch < before:
            self._witness.violated("I13", f"{run} began after the epoch {before} there")
        self._highest[run.node, key] = max(before, run.epoch)
        known = self._node(run.node).disk.memory.tasks().epochs.get(f"{key[0]}/{key[1]}", 0)
        if known < run.epoch:
            self._witness.violated("I13", f"{run} began before its epoch was durable: {known}")

    def ended(self, run: WorldRun) -> None:
        self._witness.note("ends", run, run.end)
        self._running[run.key].remove(run)
        if run.end is not None and run.end.exit_code == 0:
            self._well.add((run.key, run.epoch))

    def forgot(self, node: str) -> None:
        """Its disk is empty, or of another time."""
        self._highest = {at: epoch for at, epoch in self._highest.items() if at[0] != node}

    def heard(self, node: str) -> None:
        """A message of the node reached its broker."""
        self._heard_s[node] = self._witness.time_s()

    def site_was_cut(self, cut: SiteCut) -> None:
        if len(cut.nodes) > 1 and self._broken_until_s() + 120.0 < cut.at_s:
            self._cuts.append(cut)

    # The center

    def leave(self) -> None:
        """The store is about to be set back."""
        self._lost_leases.leave()

    def set_back(self) -> None:
        """The store is what it was some time before: what was accepted since is not known any more."""
        self._lost_leases.left()
        self._step = self._newest_step()
        self._accepted = {}
        self._current = {
            (task, instance): epoch
            for task, instance, epoch in self._store.rows(
                "SELECT task, instance, epoch FROM task_instance"
            )
        }

    def committed(self) -> None:
        """I9 and I11 over what is about to be committed."""
        newest = self._newest_step()
        if newest == self._step:
            return
        lines = self._store.rows(
            "SELECT s.task, s.instance, s.epoch, s.state, s.author, g.run FROM task_step s "
            "LEFT JOIN task_grant g ON g.task = s.task AND g.instance = s.instance "
            "AND g.epoch = s.epoch WHERE s.id > ? ORDER BY s.id",
            self._step,
        )
        self._step = newest
        for task, instance, epoch, state, author, run in lines:
            if state == "done" and author == "center":
                self._done((task, instance), epoch, run)
            elif state in ("placed", "replaced", "kept"):
                if state == "replaced":
                    self._replaced((task, instance), self._current.get((task, instance)))
                self._current[task, instance] = epoch
        self._results()

    def _newest_step(self) -> int:
        found: int | None = self._store.rows("SELECT max(id) FROM task_step")[0][0]
        return found or 0

    def _done(self, key: Key, epoch: int | None, run: int | None) -> None:
        counts = self._witness.counts
        counts.task_results += 1
        if epoch is None or run is None:
            return
        if epoch != self._current.get(key):
            current = self._current.get(key)
            self._witness.violated(
                "I9", f"{key}: {epoch} is done, and the current one is {current}"
            )
        if (key, epoch) not in self._well:
            self._witness.violated("I9", f"{key}: epoch {epoch} is done, and did not end well")
        before = self._accepted.get((key, self._life(key), run))
        if before is not None:
            self._witness.violated("I9", f"{key} run {run}: {epoch} accepted after {before[0]}")
        self._accepted[key, self._life(key), run] = (epoch, None)

    def _life(self, key: Key) -> int:
        """A task that was deleted may be made again, and counts its runs anew."""
        found = self._store.rows("SELECT created_ms FROM task WHERE name = ?", key[0])
        return int(found[0][0]) if found else 0

    def _results(self) -> None:
        """What is stored is the result of the run that was accepted, for as long as that is the last."""
        for task, instance, run, epoch, result in self._store.rows(
            "SELECT task, instance, run, epoch, result FROM task_instance WHERE state = 'done'"
        ):
            key = (task, instance)
            accepted = self._accepted.get((key, self._life(key), run), (epoch, None))
            said = epoch if result is None else json.loads(result)["epoch"]
            if not accepted[0] == epoch == said:
                self._witness.violated(
                    "I9", f"{key} run {run}: accepted {accepted[0]}, stored {epoch}, of {said}"
                )

    def _replaced(self, key: Key, lost: int | None) -> None:
        """I11: whose node is where nobody can be heard stays where it is. ``lost``: the epoch that was its
        current one, which is not the highest where an original took its place back."""
        self._witness.counts.task_moves += 1
        spec = self._spec(key[0])
        if spec is None or spec.disconnect.silent_site != "wait":
            return
        found = self._store.rows(
            "SELECT node, heard_ms, reason FROM task_grant "
            "WHERE task = ? AND instance = ? AND epoch = ?",
            *key,
            lost,
        )
        if not found or self._never_there(key, lost or 0, *found[0]):
            return
        node, now_s = found[0][0], self._witness.time_s()
        for cut in self._cuts:
            silent = cut.at_s <= now_s < cut.until_s
            late = max((self._heard_s.get(each, 0.0) for each in cut.nodes), default=0.0)
            if silent and late <= cut.at_s + LATE_S and node in cut.well:
                self._witness.violated(
                    "I11",
                    f"{key} was moved from {node}, though all of {cut.site} is silent since "
                    f"{cut.at_s:.3f} s",
                )

    def _never_there(
        self, key: Key, epoch: int, node: str, heard_ms: int, reason: str | None
    ) -> bool:
        """Whether it was lost because its node, which was heard, would not take it: that is no silence."""
        unanswered = not heard_ms and (reason or "").startswith(UNANSWERED)
        return unanswered and self._highest.get((node, key), 0) < epoch

    def _spec(self, task: str) -> TaskSpec | None:
        found = self._store.rows("SELECT spec FROM task WHERE name = ?", task)
        return msgspec.json.decode(found[0][0], type=TaskSpec) if found else None

    # In the end

    def unsettled(self) -> str | None:
        """I12: what is wanted runs, just once, and nothing else; why that is not so yet."""
        wanted: set[tuple[Key, int]] = set()
        for *columns, text, new in self._store.rows(
            "SELECT t.name, i.instance, t.wanted, i.state, i.epoch, i.reason, g.node, g.state, "
            "t.spec, i.run < t.run "
            "FROM task t JOIN task_instance i ON i.task = t.name LEFT JOIN task_grant g "
            "ON g.task = i.task AND g.instance = i.instance AND g.epoch = i.epoch ORDER BY 1, 2"
        ):
            row, spec = Row(*columns), msgspec.json.decode(text, type=TaskSpec)
            if row.state == "active":
                wanted.add((row.key, row.epoch))
            why = self._lacks(row, spec, new=bool(new))
            if why is not None:
                return f"{row}: {why}"
        return self._unwanted(wanted)

    def _lacks(self, row: Row, spec: TaskSpec, *, new: bool) -> str | None:
        if row.wanted == "delete":
            return "it is deleted"
        if row.wanted == "stop":
            return "it is stopped" if row.state in ("pending", "active") else None
        if spec.cron is not None or self._excused(spec, row.node, row.at_node):
            return None
        if new:
            return "it was begun anew"
        if spec.kind == "batch":
            return "it has no end" if row.state in ("pending", "active", "stopped") else None
        if self._runs_once(row.key, row.epoch, row.state):
            return None
        return f"running are {', '.join(map(str, self._here(row.key))) or 'none'}"

    def _excused(self, spec: TaskSpec, node: str | None, at_node: str | None) -> bool:
        """It waits for a machine that is gone for good, as its contract has it; or there is none left."""
        if all(each.retired for each in self._nodes):
            return True
        if node is None or at_node != "lost" or not self._node(node).retired:
            return False
        site = [each for each in self._nodes if each.site == self._sites[node]]
        cut = len(site) > 1 and all(each.retired for each in site)
        contract = spec.disconnect
        return not contract.replace or (cut and contract.silent_site == "wait")

    def _runs_once(self, key: Key, epoch: int, state: str) -> bool:
        return state == "active" and [run.epoch for run in self._here(key)] == [epoch]

    def _here(self, key: Key) -> list[WorldRun]:
        return self._running.get(key, [])

    def _unwanted(self, wanted: Iterable[tuple[Key, int]]) -> str | None:
        for runs in self._running.values():
            for run in runs:
                if (run.key, run.epoch) not in wanted:
                    return f"{run} is at work, and nobody wants that"
        return None

    def _node(self, name: str) -> Any:
        return next(node for node in self._nodes if node.name == name)
