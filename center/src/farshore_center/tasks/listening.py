"""What is heard of nodes, as decisions need it; and who is waited for to be heard again.

Kept beside presence, which is patient for the sake of people: a task may have to move sooner. Where the
center heard nobody at all, it was the center that was cut off, and everybody's silence begins anew.
"""

from collections.abc import Callable, Iterable

from farshore_center.nodes.registry import NodeEntry, Registry
from farshore_center.tasks.sites import Ear, Sites


class Listening:
    def __init__(self, registry: Registry, *, now_s: Callable[[], float], settle_s: float) -> None:
        self._registry = registry
        self._now_s = now_s
        self._settle_s = settle_s
        self._since_s = now_s() + settle_s
        """Nobody is silent for longer than since then."""
        self._alone = True
        self._told_s: dict[str, float] = {}
        self._begun_s = now_s()
        self._here_s: dict[str, float] = {}
        self._awaited: dict[str, set[str]] = {}

    def ear(self, entry: NodeEntry) -> Ear:
        standing = entry.standing
        heard_s = standing.deadline_s - standing.patience_s()
        return Ear(
            node=entry.name,
            group=entry.group,
            online=standing.online,
            heard_s=heard_s if standing.online else max(heard_s, self._since_s),
            heartbeat_s=standing.heartbeat_s,
            told_s=self._told_s.get(entry.name),
            here_since_s=max(self._here_s.get(entry.name, 0.0), self._begun_s),
        )

    def silent(self, node: str) -> bool:
        entry = self._registry.get(node)
        return entry is None or self.ear(entry).silent_since_s(self._now_s()) is not None

    def overdue_s(self, node: str) -> float | None:
        """When it will be silent if nothing is heard of it; now where it is already. None: unknown."""
        entry = self._registry.get(node)
        if entry is None:
            return None
        ear, now_s = self.ear(entry), self._now_s()
        return now_s if ear.silent_since_s(now_s) is not None else ear.overdue_s()

    def sites(self) -> Sites:
        ears = {entry.name: self.ear(entry) for entry in self._registry.all()}
        return Sites(ears, self._now_s())

    def stood(self, node: str, online: bool, *, told: bool) -> None:
        """Its presence changed; ``told``: by its own word or its will."""
        if online:
            self._told_s.pop(node, None)
            self._here_s.setdefault(node, self._now_s())
            if self._alone:
                self._alone = False
                self._since_s = self._now_s() + self._settle_s
        else:
            self._here_s.pop(node, None)
            if told:
                self._told_s[node] = self._now_s()
            self._alone = not self._registry.online() - {node}

    def await_(self, nodes: Iterable[str], on_behalf_of: str) -> None:
        """When one of these is heard, the other is looked at again."""
        for node in nodes:
            self._awaited.setdefault(node, set()).add(on_behalf_of)

    def heard(self, node: str) -> set[str]:
        """Whose silence is to be looked at again, as this one was heard."""
        return self._awaited.pop(node, set())

    @property
    def awaits(self) -> bool:
        return bool(self._awaited)
