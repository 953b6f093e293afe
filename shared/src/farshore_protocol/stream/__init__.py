"""Reliable streams without I/O: ranges, the node's sending side, the center's receiving side."""

from farshore_protocol.stream.model import RESTORED, STREAMS, Ack, StreamAck
from farshore_protocol.stream.ranges import RangeSet
from farshore_protocol.stream.receiver import Book
from farshore_protocol.stream.sender import Pick, Sender, SenderSettings

__all__ = [
    "RESTORED",
    "STREAMS",
    "Ack",
    "Book",
    "Pick",
    "RangeSet",
    "Sender",
    "SenderSettings",
    "StreamAck",
]
