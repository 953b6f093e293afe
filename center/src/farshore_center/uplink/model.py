"""What both ways to the nodes have in common: the contract, and the center's word about itself."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from farshore_protocol.codec import encode
from farshore_protocol.link import Message
from farshore_protocol.messages import CenterStateMessage
from farshore_protocol.topics import CenterState

from farshore_center.wishes import Wishes

Take = Callable[[str, bytes, str | None], Awaitable[None]]
"""Topic, payload and client id of a message of a node."""

CENTER_STATE = CenterState().build()


class Uplink(Protocol):
    @property
    def ready(self) -> bool: ...

    @property
    def fault(self) -> str | None:
        """Why it is not ready."""
        ...

    async def start(self) -> None: ...

    async def send(self, message: Message) -> None: ...

    async def stop(self) -> None: ...


State = Callable[[bool], Message]
"""What nodes are told of the center while it is there (True), and its will (False)."""


def center_state(
    epoch: str,
    online: bool,
    *,
    database: str = "",
    generation: int = 0,
    wishes: Wishes | None = None,
) -> Message:
    """What nodes are told of the center, and its will."""
    wishes = wishes or Wishes()
    word = CenterStateMessage(
        state="online" if online else "offline",
        epoch=epoch,
        database=database,
        generation=generation,
        rate=wishes.rate,
        hold_s=wishes.hold_s,
    )
    return Message(topic=CENTER_STATE, payload=encode(word), qos=1, retain=True)
