"""The broker's room: the embedded MQTT broker, its access rule for development, its WebSocket."""

from farshore_center.broker.embedded import EmbeddedBroker
from farshore_center.broker.errors import BadTopicError, BrokerError
from farshore_center.broker.gate import DevGate
from farshore_center.broker.model import (
    BrokerSettings,
    BrokerStats,
    Client,
    Gate,
    Ingest,
    Publication,
    Refusal,
    Rejections,
)
from farshore_center.broker.websocket import websocket_route

__all__ = [
    "BadTopicError",
    "BrokerError",
    "BrokerSettings",
    "BrokerStats",
    "Client",
    "DevGate",
    "EmbeddedBroker",
    "Gate",
    "Ingest",
    "Publication",
    "Refusal",
    "Rejections",
    "websocket_route",
]
