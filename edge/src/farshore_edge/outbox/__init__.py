"""The outbox: what the node has to say, kept until the center has it."""

from farshore_edge.outbox.courier import Courier, Uplink
from farshore_edge.outbox.envelope import Timing
from farshore_edge.outbox.outbox import BufferSettings, Outbox
from farshore_edge.outbox.quota import Quota

__all__ = ["BufferSettings", "Courier", "Outbox", "Quota", "Timing", "Uplink"]
