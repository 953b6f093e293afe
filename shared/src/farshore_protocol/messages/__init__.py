"""Messages about a node and its connection, and the envelope that every stream record wears."""

from farshore_protocol.messages.center import (
    UNKNOWN_NODE,
    CenterMark,
    CenterStateMessage,
    ErrorMessage,
)
from farshore_protocol.messages.log import LogLines, LogRenewal, log_name
from farshore_protocol.messages.node import (
    Birth,
    Capabilities,
    Heartbeat,
    Presence,
    Queue,
    StreamHead,
    TimeAnswer,
    TimeRequest,
)
from farshore_protocol.messages.probe import LinkMeasured, Probe, ProbeAnswer
from farshore_protocol.messages.record import Envelope, Event, FactsReport

__all__ = [
    "UNKNOWN_NODE",
    "Birth",
    "Capabilities",
    "CenterMark",
    "CenterStateMessage",
    "Envelope",
    "ErrorMessage",
    "Event",
    "FactsReport",
    "Heartbeat",
    "LinkMeasured",
    "LogLines",
    "LogRenewal",
    "Presence",
    "Probe",
    "ProbeAnswer",
    "Queue",
    "StreamHead",
    "TimeAnswer",
    "TimeRequest",
    "log_name",
]
