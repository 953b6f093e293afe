"""Where the streams stand, as it is told to the center and to people. It changes nothing."""

from collections.abc import Mapping

from farshore_protocol.messages import Queue, StreamHead
from farshore_protocol.stream import Sender

from farshore_edge.outbox.opening import Opening
from farshore_edge.outbox.streams import Stream


class Standing:
    def __init__(self, streams: Mapping[str, Stream], sender: Sender, opening: Opening) -> None:
        self._streams = streams
        self._sender = sender
        self._opening = opening

    def made(self) -> dict[str, int]:
        """The last seq of each stream, announced to the center or not."""
        return {name: state.told for name, state in self._streams.items()}

    def heads(self) -> dict[str, StreamHead]:
        """Where the streams stand, as far as it is sure: nothing else may be announced."""
        if self._opening.absent is not None:
            return {}
        return {
            name: StreamHead(
                epoch=state.epoch, head=self._opening.sure(name), records=self._sender.unsent(name)
            )
            for name, state in self._streams.items()
        }

    def queues(self) -> dict[str, Queue]:
        if self._opening.absent is not None:
            return {}
        return {
            name: Queue(
                records=self._sender.unsent(name),
                bytes=max(0, state.bytes),
                head=self._opening.sure(name),
            )
            for name, state in self._streams.items()
        }
