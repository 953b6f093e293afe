"""The tree of groups as the nodes' places make it. Pure."""

from collections.abc import Iterable

from farshore_protocol.names import group_ancestors


def counts(places: Iterable[tuple[str, bool]]) -> dict[str, tuple[int, int]]:
    """For each group and each of its ancestors: nodes in its subtree, and how many are online."""
    found: dict[str, tuple[int, int]] = {}
    for group, online in places:
        for path in group_ancestors(group):
            total, here = found.get(path, (0, 0))
            found[path] = (total + 1, here + online)
    return dict(sorted(found.items()))
