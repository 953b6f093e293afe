"""What is heard of nodes, as decisions need it; and who is waited for to be heard again.

Kept beside presence, which is patient for the sake of people: a task may have to move sooner. Where the
center heard nobody at all, it was the center that was cut off, and everybody's silence begins anew.
A silence is ended by a word alone: that a node is online may lie at the broker since long ago, or until the
broker notices that its connection is dead.
"""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

from farshore_center.nodes.registry import NodeEntry, Registry
from farshore_center.tasks.sites import Ear, Sites

_NOBODY: frozenset[str] = frozenset()


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
        """Who has said a word since it was silent, and when the first."""
        self._awaited: dict[str, set[str]] = {}

    def ear(self, entry: NodeEntry) -> Ear:
        standing = entry.standing
        online = standing.online and entry.name in self._here_s
        heard_s = standing.deadline_s - standing.patience_s()
        return Ear(
            node=entry.name,
            group=entry.group,
            online=online,
            heard_s=heard_s if online else max(heard_s, self._since_s),
            heartbeat_s=standing.heartbeat_s,
            told_s=self._told_s.get(entry.name),
            here_since_s=max(self._here_s.get(entry.name, 0.0), self._begun_s),
        )

    def silent(self, node: str) -> bool:
        """Once it is, nothing but a word of it ends that."""
        entry = self._registry.get(node)
        if entry is not None and self.ear(entry).silent_since_s(self._now_s()) is None:
            return False
        self._here_s.pop(node, None)
        return True

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
        """Its presence changed; ``told``: by a message of presence, its own or its will."""
        if online:
            self._told_s.pop(node, None)
            if not told:
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

    def heard(self, node: str) -> AbstractSet[str]:
        """A word of it; whose silence is to be looked at again."""
        if node not in self._here_s:
            entry = self._registry.get(node)
            if entry is not None and entry.standing.online:
                self._here_s[node] = self._now_s()
        return self._awaited.pop(node, _NOBODY)
