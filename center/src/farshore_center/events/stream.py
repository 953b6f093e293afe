"""Events as a stream of server-sent events, by id, without a gap.

It reads a page, sends it, and reads the next one only when the client has taken it. Who resumes
behind what is still kept, or with an id of an earlier database, is told so in a comment.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Send

from farshore_center.events.model import Event
from farshore_center.events.select import EventFilter
from farshore_center.events.service import EventLog

PAGE = 100
HEARTBEAT_S = 15.0


class EventStreamResponse(StreamingResponse):
    """Ends its iterator itself when the client is gone, not when the garbage is collected."""

    def __init__(self, content: AsyncGenerator[bytes, None]) -> None:
        super().__init__(
            content,
            media_type="text/event-stream",
            # A proxy that buffers or keeps the stream would make it useless.
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        self._content = content

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._content):
            await super().stream_response(send)


async def stream(
    log: EventLog, wanted: EventFilter, after: int | None, heartbeat_s: float
) -> AsyncGenerator[bytes, None]:
    """Chunks of the stream; `after` None begins with what comes now."""
    with log.subscribe(wanted) as subscription:
        kept = await log.bounds()
        last, remark = kept.newest, "subscribed"
        if after is not None and after > kept.newest:
            last, remark = 0, f"event {after} is of another log; this one begins anew"
        elif after is not None:
            last = after
            if after + 1 < kept.oldest:
                remark = f"events {after + 1} to {kept.oldest - 1} are no longer kept"
        yield f": {remark}\n\n".encode()
        while not log.closed:
            subscription.rearm()
            page = await log.page(wanted, last, PAGE)
            last = page.reached
            if page.items:
                yield b"".join(map(server_sent, page.items))
            if page.full or log.closed:
                continue
            if not await subscription.news(heartbeat_s):
                yield b": still here\n\n"


def server_sent(event: Event) -> bytes:
    # orjson writes no line ends, so the data is one line.
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        event.id,
        event.kind.encode(),
        orjson.dumps(event.document()),
    )
