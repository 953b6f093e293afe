"""Where a node stands, as the registry of nodes knows it."""

from farshore_center.config.fleet import Place
from farshore_center.nodes.registry import NodeEntry

_PERSON = "person"


def place_of(entry: NodeEntry) -> Place:
    return Place(
        node=entry.name,
        group=entry.group,
        labels=dict(entry.labels),
        given=_PERSON in (entry.group_by, entry.labels_by),
    )
