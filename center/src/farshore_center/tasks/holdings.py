"""What is granted where, in the pool in memory: taken over from the database at each look at an instance."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace

from farshore_protocol.tasks import TaskSpec

from farshore_center.placement import Demand, Held, Pool, Traffic, Way
from farshore_center.tasks.demands import demand_of
from farshore_center.tasks.documents import Documents, text_of
from farshore_center.tasks.outlook import Outlook, stored_outlook
from farshore_center.tasks.records import Granted, Instance, Key


def label_of(grant: Granted) -> str:
    return f"{grant.task}/{grant.instance}/{grant.epoch}"


def key_of(label: str) -> Key:
    task, instance, _ = label.rsplit("/", 2)
    return task, int(instance)


class Holdings:
    """Every grant that has not ended has a label in the pool, and its text in the document of its node."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.documents = Documents()
        self._labels: dict[Key, dict[int, str]] = {}
        self._of_task: dict[str, set[Key]] = {}
        self._services: set[str] = set()
        self._ending: set[str] = set()
        self._outlooks: dict[str, Outlook] = {}
        self._moving: set[str] = set()

    def on(self, node: str) -> list[Key]:
        """The instances that have something there."""
        return [key_of(held.task) for held in self.pool.on(node)]

    def where(self, key: Key) -> str | None:
        """The node of its newest grant."""
        held = self._labels.get(key)
        return None if not held else self.pool.placement(held[max(held)]).node

    def nodes_of(self, task: str) -> list[str]:
        """Where its instances are, one entry for each."""
        found = []
        for key in self._of_task.get(task, ()):
            for label in self._labels.get(key, {}).values():
                found.append(self.pool.placement(label).node)
        return found

    def follow(
        self,
        key: Key,
        grants: Iterable[Granted],
        specs: Mapping[int, TaskSpec],
        priority: int | None = None,
    ) -> bool:
        """Takes over an instance's grants that have not ended; whether something became free.

        ``specs``: by revision. ``priority``: of the task as it is now.
        """
        live = {grant.epoch: grant for grant in grants if not grant.final}
        held = self._labels.setdefault(key, {})
        gone = [epoch for epoch in held if epoch not in live]
        for epoch in gone:
            self._release(held.pop(epoch))
        for epoch, grant in live.items():
            spec = specs.get(grant.revision)
            if spec is not None and priority is not None:
                spec = replace(spec, priority=priority)
            if epoch in held and self.pool.placement(held[epoch]).priority != priority is not None:
                self._release(held.pop(epoch))
            if epoch not in held and spec is not None and grant.node in self.pool:
                self._hold(grant, demand_of(spec, members={}), spec)
            self.note(grant)
        if held:
            self._of_task.setdefault(key[0], set()).add(key)
        else:
            del self._labels[key]
            self._of_task.get(key[0], set()).discard(key)
        return bool(gone)

    def _hold(self, grant: Granted, demand: Demand, spec: TaskSpec) -> None:
        label = label_of(grant)
        self.pool.adopt(label, demand, grant.node, grant.gpus)
        self.documents.add(grant.node, label, text_of(grant.task, spec))
        self._labels.setdefault(grant.of, {})[grant.epoch] = label
        self._of_task.setdefault(grant.task, set()).add(grant.of)
        if spec.kind == "service":
            self._services.add(grant.task)
        else:
            self._services.discard(grant.task)

    def _release(self, label: str) -> None:
        self.documents.remove(self.pool.remove(label).node, label)
        self._ending.discard(label)
        self._look_no_more(label)

    def note(self, grant: Granted) -> None:
        """Whether it is told to end: what it holds will be free."""
        label = label_of(grant)
        if grant.want == "stop" and label in self.pool.placements:
            self._ending.add(label)
        else:
            self._ending.discard(label)

    # What is expected of it

    def expect(self, grant: Granted, outlook: Outlook) -> None:
        label = label_of(grant)
        self._outlooks[label] = outlook
        if outlook.transfers:
            self._moving.add(label)

    def expect_stored(self, instance: Instance, grants: Iterable[Granted]) -> None:
        """What an earlier center, or another one, has decided, as the instance's decision has it."""
        for grant in grants:
            label = label_of(grant)
            known = label in self._outlooks or label not in self.pool.placements
            if grant.epoch == instance.epoch and not known:
                self.expect(grant, stored_outlook(instance.decision, grant.granted_ms))

    def _look_no_more(self, label: str) -> None:
        self._outlooks.pop(label, None)
        self._moving.discard(label)

    def held(self, node: str, now_ms: int) -> Held:
        """What is held there, and when each is expected to end."""
        return [
            (held, None if (of := self._outlooks.get(held.task)) is None else of.end(now_ms))
            for held in self.pool.on(node)
        ]

    def traffic(self, now_ms: int, beside: Key) -> Traffic:
        """What is still to move over each link, by those who move it, but for the instance itself."""
        found: dict[tuple[str, Way], list[int]] = {}
        for label in sorted(self._moving):
            left = list(self._outlooks[label].left(now_ms))
            for each in left if key_of(label) != beside else ():
                found.setdefault((each.node, each.way), []).append(each.size_bytes)
            if not left:
                self._moving.discard(label)
        return found

    @property
    def ending(self) -> Set[str]:
        """Labels of grants that are told to end, and hold their place until they have."""
        return self._ending

    def serves(self, task: str) -> bool:
        """Whether it is a service, as far as anything of it runs."""
        return task in self._services

    def services_below(self, priority: int) -> set[str]:
        """The services of which something runs at this priority or below."""
        weak = (held for held in self.pool.placements.values() if held.priority <= priority)
        return {key_of(held.task)[0] for held in weak} & self._services

    def drop(self, node: str) -> None:
        """The node is gone, and what was granted there holds nothing any more."""
        self.documents.drop(node)
        for placement in self.pool.drop_node(node):
            self._ending.discard(placement.task)
            self._look_no_more(placement.task)
            epoch = int(placement.task.rsplit("/", 1)[1])
            self._labels.get(key_of(placement.task), {}).pop(epoch, None)
