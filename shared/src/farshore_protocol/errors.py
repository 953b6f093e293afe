"""What can go wrong in the protocol; blame is in the type.

ProtocolError
├── LocalProtocolError      our own code misused the protocol: a defect on this side
│   └── IllegalTransitionError  a state change that the lifecycle table does not hold
└── RemoteProtocolError     the other side (or a person at a client) sent what must not be sent
    ├── TopicError          a topic that is none of ours, or malformed
    └── MessageError        a payload that can't be decoded or does not fit its type
"""


class ProtocolError(Exception):
    """Root of everything that this package raises on purpose."""


class LocalProtocolError(ProtocolError):
    """Our own misuse of the protocol."""


class IllegalTransitionError(LocalProtocolError):
    """A state change that the lifecycle's table does not hold; nothing was changed."""


class RemoteProtocolError(ProtocolError):
    """The other side sent something wrong.

    ``reason`` is a short machine word for counters, ``detail`` says for people what was wrong,
    where, and what was expected.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class TopicError(RemoteProtocolError):
    """A topic that is none of ours, or malformed."""

    def __init__(self, detail: str) -> None:
        super().__init__("bad_topic", detail)


class MessageError(RemoteProtocolError):
    """A payload that can't be decoded (``bad_json``) or does not fit its type (``bad_message``)."""
