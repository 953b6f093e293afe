"""The tree of groups in memory: every group by its path. Pure; the database follows it.

It always holds the parents of what it holds. Only the event loop touches it, and whoever changes it
checks and changes without waiting in between; rows are written afterwards.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from farshore_protocol.names import group_ancestors

By = Literal["person", "node"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    path: str
    description: str = ""
    created_ms: int
    created_by: By = "person"
    revision: int = 1


def parent_of(path: str) -> str:
    """``""``, the root, of a group at the top."""
    return path.rpartition("/")[0]


def in_subtree(path: str, top: str) -> bool:
    return path == top or path.startswith(top + "/")


def moved(path: str, old: str, new: str) -> str:
    """A path of the subtree ``old`` after that has become ``new``."""
    return new + path.removeprefix(old)


class GroupTree:
    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}
        self._unstored: set[str] = set()

    def fill(self, groups: Iterable[Group]) -> None:
        self._groups = {group.path: group for group in groups}
        self._unstored = set()

    def get(self, path: str) -> Group | None:
        return self._groups.get(path)

    def __contains__(self, path: str) -> bool:
        return path == "" or path in self._groups

    def all(self) -> list[Group]:
        """A parent before its children."""
        return [self._groups[path] for path in sorted(self._groups, key=lambda p: p.split("/"))]

    def paths(self) -> list[str]:
        return list(self._groups)

    def subtree(self, top: str) -> list[Group]:
        """The group and all below it."""
        return [group for group in self.all() if in_subtree(group.path, top)]

    def children(self, path: str) -> list[str]:
        return [group.path for group in self.all() if parent_of(group.path) == path]

    def grow(self, path: str, now_ms: int, by: By) -> list[Group]:
        """Makes what is missing of the group and its ancestors; they are to be stored."""
        made = [
            Group(path=each, created_ms=now_ms, created_by=by)
            for each in group_ancestors(path)
            if each not in self._groups
        ]
        for group in made:
            self.put(group)
            self._unstored.add(group.path)
        return made

    def put(self, group: Group) -> None:
        """Whoever puts it writes its row."""
        self._groups[group.path] = group

    def remove(self, path: str) -> None:
        self._groups.pop(path, None)
        self._unstored.discard(path)

    def rename(self, old: str, new: str) -> list[Group]:
        """Moves a subtree; the groups as they are now. The revision counts the move."""
        renamed = []
        for group in self.subtree(old):
            self.remove(group.path)
            path = moved(group.path, old, new)
            renamed.append(replace(group, path=path, revision=group.revision + 1))
        for group in renamed:
            self.put(group)
        return renamed

    def unstored(self) -> list[Group]:
        """What no row is known of yet, a parent before its children."""
        return [self._groups[path] for path in sorted(self._unstored)]

    def stored(self, groups: Iterable[Group]) -> None:
        """These have their rows, unless they were changed meanwhile."""
        for group in groups:
            if self._groups.get(group.path) == group:
                self._unstored.discard(group.path)
