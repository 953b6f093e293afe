"""The node's presence at the center: will, birth, heartbeat, time exchange."""

from farshore_edge.presence.center_memory import CenterMemory
from farshore_edge.presence.clock_sync import ClockSync
from farshore_edge.presence.service import Presence

__all__ = ["CenterMemory", "ClockSync", "Presence"]
