"""The MQTT link over asyncio, its backoff, and an in-memory bus of the same behaviour."""

from farshore_protocol.link.backoff import Backoff, BackoffSettings
from farshore_protocol.link.model import Link, LinkHandler, Message, Session

__all__ = ["Backoff", "BackoffSettings", "Link", "LinkHandler", "Message", "Session"]
