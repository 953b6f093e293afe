"""The door: every message of a node comes through here, is parsed once, and goes to its room.

What is wrong is put on the list of the rejected; nothing that comes in can stop anything.
"""

from collections.abc import Awaitable, Callable

import structlog
from farshore_protocol.codec import decode
from farshore_protocol.errors import MessageError, RemoteProtocolError
from farshore_protocol.messages import (
    UNKNOWN_NODE,
    Birth,
    CenterMark,
    Heartbeat,
    Presence,
    Probe,
    StreamHead,
    TimeRequest,
)
from farshore_protocol.messages.record import STREAM_OF
from farshore_protocol.names import check_name, check_tree_group
from farshore_protocol.stream import STREAMS
from farshore_protocol.tasks import LeaseRequest
from farshore_protocol.topics import Up, parse

from farshore_center.db.errors import DatabaseError
from farshore_center.ingest.arrival import read
from farshore_center.ingest.engine import Greeting
from farshore_center.ingest.rejected import RejectedList
from farshore_center.ingest.service import IngestService
from farshore_center.nodes.probes import ProbeService
from farshore_center.nodes.service import NodeService

log = structlog.get_logger(__name__)


class Intake:
    def __init__(
        self,
        nodes: NodeService,
        ingest: IngestService,
        rejected: RejectedList,
        probes: ProbeService,
        judged: Callable[[str, CenterMark | None], Awaitable[bool]],
        leases: Callable[[str, LeaseRequest], Awaitable[None]] | None = None,
        live: Callable[[Up, bytes], None] = lambda _up, _payload: None,
    ) -> None:
        """``judged``: whether a node has seen what a restored center does not know. ``leases``: answers a
        node's question for its leases. ``live``: hands on what comes of live logs."""
        self._nodes = nodes
        self._ingest = ingest
        self._rejected = rejected
        self._probes = probes
        self._judged = judged
        self._leases = leases
        self._live_to = live
        self._by_kind: dict[str, Callable[[Up, bytes], Awaitable[None]]] = {
            "presence": self._presence,
            "birth": self._birth,
            "heartbeat": self._heartbeat,
            "time": self._time,
            "probe": self._probe,
            "lease": self._lease,
            "res": self._record,
            "evt": self._record,
            "rep": self._record,
            "tel": self._record,
            "log": self._live,
        }
        self._born: set[str] = set()
        self.received: dict[str, int] = dict.fromkeys(self._by_kind, 0)

    async def take(self, topic: str, payload: bytes, client_id: str | None) -> None:
        """A message below ``fs1/up``; waits only when ingest has no room."""
        up: Up | None = None
        try:
            parsed = parse(topic)
            if not isinstance(parsed, Up):
                return
            up = parsed
            if up.kind != "presence":
                self._nodes.heard(up.node)
            if up.device is not None and up.kind not in STREAM_OF:
                raise MessageError("unknown_topic", f"{topic!r}: devices are not served yet")
            await self._by_kind[up.kind](up, payload)
            self.received[up.kind] += 1
        except RemoteProtocolError as exc:
            self._refuse(topic, payload, client_id, up, exc)
        except DatabaseError as exc:
            log.error("a message could not be kept", topic=topic, error=str(exc))
        except Exception as exc:
            # Nobody foresaw it; raised, it would cut the sender off again and again.
            log.exception("a message broke the intake", topic=topic)
            fault = MessageError("not_taken", f"the center can't take it: {exc}"[:500])
            self._refuse(topic, payload, client_id, up, fault)

    def _refuse(
        self,
        topic: str,
        payload: bytes,
        client_id: str | None,
        up: Up | None,
        exc: RemoteProtocolError,
    ) -> None:
        self._rejected.add(
            reason=exc.reason,
            detail=exc.detail,
            payload=payload,
            topic=topic,
            node=up.node if up is not None else None,
            client_id=client_id,
        )

    async def _record(self, up: Up, payload: bytes) -> None:
        await self._ingest.submit(read(up, payload))

    async def _presence(self, up: Up, payload: bytes) -> None:
        await self._nodes.said(up.node, decode(Presence, payload))

    async def _birth(self, up: Up, payload: bytes) -> None:
        birth = decode(Birth, payload)
        _check_birth(birth)
        self._born.discard(up.node)
        ahead = await self._judged(up.node, birth.center)  # before anything is sent to the node
        known = self._nodes.registry.get(up.node)
        new_boot = known is None or known.standing.boot != birth.boot
        again = up.node in self._ingest.unanswered
        await self._nodes.born(up.node, birth)
        await self._ingest.submit(
            Greeting(node=up.node, heads=birth.streams, ahead=ahead, new_boot=new_boot or again)
        )
        self._born.add(up.node)

    async def _heartbeat(self, up: Up, payload: bytes) -> None:
        """Of a node whose birth was not taken to its end since this center began, because it was
        not heard or could not be written, the birth is asked for: it says how far the node is."""
        beat = decode(Heartbeat, payload)
        if up.node not in self._born or up.node in self._ingest.unanswered:
            raise MessageError(
                UNKNOWN_NODE, f"heartbeat of {up.node!r}, of which no birth is known here"
            )
        await self._nodes.beat(up.node, beat)

    async def _time(self, up: Up, payload: bytes) -> None:
        request = decode(TimeRequest, payload)
        await self._nodes.asked_time(up.node, request)
        await self._ingest.exchanged_time(up.node, request)

    async def _probe(self, up: Up, payload: bytes) -> None:
        await self._probes.asked(up.node, decode(Probe, payload), len(payload))

    async def _lease(self, up: Up, payload: bytes) -> None:
        request = decode(LeaseRequest, payload)
        if self._leases is not None:
            await self._leases(up.node, request)

    async def _live(self, up: Up, payload: bytes) -> None:
        """Live logs are for whoever listens; the center keeps nothing of them."""
        self._live_to(up, payload)


def _check_birth(birth: Birth) -> None:
    check_tree_group(birth.group)
    for label in birth.labels:
        check_name(label, "label")
    for stream, head in birth.streams.items():
        _check_head(stream, head)


def _check_head(stream: str, head: StreamHead) -> None:
    if stream not in STREAMS:
        raise MessageError("bad_message", f"Birth: stream {stream!r}: expected one of {STREAMS}")
    if head.head >= 2**53:
        raise MessageError(
            "bad_sequence", f"Birth: head {head.head} of {stream!r} is out of the world"
        )
