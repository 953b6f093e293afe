"""What was refused: counted, the last ones kept with their reason, logged with restraint.

The sender, where there is one, is told on ``down/<node>/error``, a bounded number of times.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from farshore_protocol.codec import encode
from farshore_protocol.link import Message
from farshore_protocol.messages import ErrorMessage
from farshore_protocol.names import is_name
from farshore_protocol.topics import Down

log = structlog.get_logger(__name__)

KEPT = 1_000
PAYLOAD_SHOWN_BYTES = 200
LOG_EVERY_S = 60.0
ERRORS_PER_MINUTE = 60
SENDERS_KEPT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """``number`` counts them since the start."""

    number: int
    at_ms: int
    node: str | None
    client_id: str | None
    topic: str | None
    reason: str
    detail: str
    payload_bytes: int
    payload_start: str


@dataclass(slots=True)
class _Sender:
    minute: int = -1
    told: int = 0
    logged_s: float = float("-inf")
    unlogged: int = 0


class RejectedList:
    """``tell`` sends an error record to a node; it is called at most ``ERRORS_PER_MINUTE`` times."""

    def __init__(
        self,
        *,
        now_ms: Callable[[], int],
        now_s: Callable[[], float],
        tell: Callable[[Message], None],
    ) -> None:
        self._now_ms = now_ms
        self._now_s = now_s
        self._tell = tell
        self._kept: deque[Rejection] = deque(maxlen=KEPT)
        self._senders: dict[str, _Sender] = {}
        self._number = 0
        self.counts: Counter[str] = Counter()

    def items(self) -> list[Rejection]:
        """The last ones, newest last."""
        return list(self._kept)

    def add(
        self,
        *,
        reason: str,
        detail: str,
        payload: bytes,
        topic: str | None = None,
        node: str | None = None,
        client_id: str | None = None,
    ) -> None:
        self.counts[reason] += 1
        self._number += 1
        rejection = Rejection(
            number=self._number,
            at_ms=self._now_ms(),
            node=node,
            client_id=client_id,
            topic=topic[:300] if topic else topic,
            reason=reason,
            detail=detail[:1000],
            payload_bytes=len(payload),
            payload_start=payload[:PAYLOAD_SHOWN_BYTES].decode("utf-8", "replace"),
        )
        self._kept.append(rejection)
        who = client_id or node or "?"
        sender = self._sender(who)
        self._log(sender, rejection)
        # The one to be told is the one who wrote, not the one in whose name it was written.
        addressee = client_id if client_id is not None else node
        if addressee is not None and is_name(addressee):
            self._tell_sender(sender, addressee, rejection)

    def _sender(self, who: str) -> _Sender:
        sender = self._senders.get(who)
        if sender is None:
            if len(self._senders) >= SENDERS_KEPT:
                del self._senders[next(iter(self._senders))]
            sender = self._senders[who] = _Sender()
        return sender

    def _log(self, sender: _Sender, rejection: Rejection) -> None:
        now_s = self._now_s()
        if now_s - sender.logged_s < LOG_EVERY_S:
            sender.unlogged += 1
            return
        log.warning(
            "a message was rejected",
            node=rejection.node,
            client_id=rejection.client_id,
            topic=rejection.topic,
            reason=rejection.reason,
            detail=rejection.detail,
            more_since_last_line=sender.unlogged,
        )
        sender.logged_s, sender.unlogged = now_s, 0

    def _tell_sender(self, sender: _Sender, addressee: str, rejection: Rejection) -> None:
        minute = int(self._now_s() // 60)
        if sender.minute != minute:
            sender.minute, sender.told = minute, 0
        if sender.told >= ERRORS_PER_MINUTE:
            return
        sender.told += 1
        word = ErrorMessage(
            topic=rejection.topic or "",
            reason=rejection.reason,
            detail=rejection.detail,
            at=rejection.at_ms,
        )
        topic = Down(node=addressee, kind="error").build()
        self._tell(Message(topic=topic, payload=encode(word)))
