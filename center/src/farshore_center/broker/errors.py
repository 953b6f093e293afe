"""What can go wrong in the broker; blame is in the type.

CenterError
└── BrokerError
    ├── PeerError       a client broke the protocol or a bound: it is closed, nobody else
    └── BadTopicError   our own code published or subscribed to what is no topic or no filter
"""

from farshore_center.broker.model import Refusal
from farshore_center.errors import CenterError


class BrokerError(CenterError):
    """Root of what this room raises on purpose."""


class PeerError(BrokerError):
    """A client broke the protocol or a bound."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.refusal = Refusal(reason=reason, detail=detail)


class BadTopicError(BrokerError):
    """Not a topic, or not a filter."""
