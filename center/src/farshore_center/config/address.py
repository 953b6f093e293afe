"""Which layer: ``defaults``, ``group:eu/hamburg``, ``overlay:gpu``, ``node:pi-17``. Pure."""

from typing import Literal, NamedTuple, get_args

from farshore_protocol.errors import MessageError, RemoteProtocolError
from farshore_protocol.names import check_name, check_tree_group

LayerKind = Literal["defaults", "group", "overlay", "node"]

OVERRIDE = "override"
"""The origin of what was set at the node itself."""


class Address(NamedTuple):
    kind: LayerKind
    name: str = ""

    def __str__(self) -> str:
        return self.kind if self.kind == "defaults" else f"{self.kind}:{self.name}"

    def origin(self, rev: int) -> str:
        """As it stands beside a value: ``group:eu@7``."""
        return f"{self}@{rev}"


DEFAULTS = Address("defaults")


def parse(text: str) -> Address:
    """The inverse of ``str``. Raises RemoteProtocolError."""
    kind, colon, name = text.partition(":")
    if text == "defaults":
        return DEFAULTS
    if not colon or kind not in get_args(LayerKind) or kind == "defaults":
        raise MessageError(
            "bad_layer",
            f"layer {text[:80]!a}: expected defaults, group:PATH, overlay:NAME or node:NAME",
        )
    return checked(Address(kind, name))  # type: ignore[arg-type] # it is one of them


def checked(address: Address) -> Address:
    """The address itself. Raises RemoteProtocolError for a name that nothing can have."""
    if address.kind == "group":
        if not address.name:
            raise MessageError(
                "bad_layer", "the root group has no layer: what is for all is defaults"
            )
        check_tree_group(address.name)
    elif address.kind != "defaults":
        check_name(address.name, address.kind)
    return address


def is_address(text: str) -> bool:
    try:
        parse(text)
    except RemoteProtocolError:
        return False
    return True
