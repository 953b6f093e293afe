"""What the center knows when it plans: the fleet, the layers, the schemas. Reads; changes nothing."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from farshore_protocol.config.layers import Layer
from sqlalchemy import Connection

from farshore_center.config import layer_store
from farshore_center.config.address import Address
from farshore_center.config.fleet import Fleet, Groups, Place
from farshore_center.db.database import Database

Places = Callable[[], Sequence[Place]]

_MANY = 2_000
"""More layers than these are read as the whole table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """``layers``: all that the chosen places may have."""

    layers: dict[Address, Layer]
    schemas: dict[str, Any]


async def the_fleet(
    database: Database, groups: Groups, places: Places, also: Address | None = None
) -> Fleet:
    """The fleet with the members of every overlay that has a layer, and of ``also``."""
    named = await database.read(lambda conn: layer_store.live_names(conn, "overlay"))
    if also is not None and also.kind == "overlay":
        named.add(also.name)
    overlays = [
        (overlay.name, await groups.members(overlay.selector))
        for overlay in groups.overlays()
        if overlay.name in named
    ]
    return Fleet(places=tuple(places()), overlays=tuple(overlays))


def read_known(conn: Connection, fleet: Fleet, places: Iterable[Place]) -> Known:
    wanted: set[Address] = set()
    for place in places:
        wanted.update(fleet.addresses(place))
    return Known(
        layers=layer_store.live(conn, wanted if len(wanted) <= _MANY else None),
        schemas={
            document: found.definition
            for document, found in layer_store.stored_schemas(conn).items()
        },
    )
