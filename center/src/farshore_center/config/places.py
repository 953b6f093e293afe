"""The fleet's places as the registry of nodes knows them, and groups as their nodes make them.

``RegistryGroups`` stands for a center without saved groups and overlays.
"""

from farshore_protocol.names import group_ancestors

from farshore_center.config.fleet import OverlayLike, Place
from farshore_center.nodes.registry import NodeEntry, Registry

_PERSON = "person"


def place_of(entry: NodeEntry) -> Place:
    return Place(
        node=entry.name,
        group=entry.group,
        labels=dict(entry.labels),
        given=_PERSON in (entry.group_by, entry.labels_by),
    )


class RegistryGroups:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def overlays(self) -> tuple[OverlayLike, ...]:
        return ()

    async def members(self, selector: str, /) -> frozenset[str]:
        raise AssertionError(f"there are no overlays, so nobody asks for {selector!r}")

    @property
    def tree(self) -> frozenset[str]:
        """Those that a node stands in, and all above them."""
        groups = {entry.group for entry in self._registry.all()}
        return frozenset(path for group in groups for path in group_ancestors(group))
